"""Our app, with its settings, worker, consumer and transport."""

from __future__ import annotations

from app.celery import make_app
from tests.integration.celery_facts.chores import equip

app = equip(make_app())
