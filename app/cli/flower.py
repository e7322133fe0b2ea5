"""Flower as this cloud runs it: read only, and no page without the password.

Takes Flower's own options. Its basic authentication leaves `/metrics` open; here it does not.
"""

from __future__ import annotations

import sys

from celery.bin.celery import main as celery
from flower import urls
from flower.views.monitor import Metrics
from tornado.web import authenticated

from app import logs
from app.config import settings


class PrivateMetrics(Metrics):
    """Prometheus figures for who knows the password."""

    @authenticated
    async def get(self) -> None:
        """See Flower."""
        await super().get()


def main() -> None:
    """Run Flower until it is told to end."""
    logs.configure(settings(), "flower")
    metrics = [n for n, handler in enumerate(urls.handlers) if _class_of(handler) is Metrics]
    if len(metrics) != 1:
        sys.exit("flower: this release has no /metrics to close, see app/cli/flower.py")
    urls.handlers[metrics[0]] = (r"/metrics", PrivateMetrics)
    sys.argv = ["celery", "-A", "app", "flower", *sys.argv[1:]]
    celery()


def _class_of(handler: object) -> object:
    return handler[1] if isinstance(handler, tuple) else getattr(handler, "handler_class", None)


if __name__ == "__main__":
    main()
