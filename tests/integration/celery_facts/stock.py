"""Celery and kombu as they come, but for the threads pool. Imports nothing of ours."""

from __future__ import annotations

import os

from celery import Celery

from tests.integration.celery_facts.chores import equip

URL = os.environ["NOVELLA_BROKER_URL"]

app = Celery("stock", broker=URL, backend=os.environ.get("NOVELLA_RESULT_URL") or URL)
app.conf.worker_pool = "threads"
equip(app)
