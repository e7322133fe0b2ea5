"""The Celery app of those who only publish, web above all: no worker's app is made for them."""

from __future__ import annotations

import functools
from typing import Any

from celery import Celery

from app import broker
from app.config import settings
from app.topology import topology


@functools.cache
def publisher() -> Celery:
    """An app that only publishes: no result backend, no retries, two seconds at most."""
    messaging = broker.messaging(settings().broker_url)
    made = Celery("novella-publisher", amqp=messaging, set_as_current=False)
    made.conf.update(common(publishing=True))
    made.conf.update(
        result_backend=None,
        task_ignore_result=True,
        task_publish_retry=False,
    )
    return made


def common(publishing: bool) -> dict[str, Any]:
    """What apps that publish and apps of workers have in common."""
    return broker.celery_settings(settings(), publishing) | {
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_serializer": "json",
        "task_default_queue": "conductor",
        "task_create_missing_queues": True,
        "task_routes": {
            name: {"queue": queue} for name, queue in topology().tasks.items() if "{" not in queue
        },
        "worker_hijack_root_logger": False,
    }
