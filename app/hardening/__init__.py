"""Celery and kombu as this cloud needs them; docs/celery.md says why, and for which versions."""

from __future__ import annotations

from celery import Celery

from app.hardening.deafness import DeafnessStep
from app.hardening.redis_transport import install

CONSUMER = "app.hardening.consumer:Consumer"

install()


def harden(app: Celery) -> None:
    """Give the workers of `app` our consumer and the watchdog over deaf ones."""
    app.conf.worker_consumer = CONSUMER
    app.steps["worker"].add(DeafnessStep)
