"""Flower as this cloud runs it: read only, and no page without the password.

Takes Flower's own options. The password is in FLOWER_BASIC_AUTH as `user:password`, or in the file
that FLOWER_BASIC_AUTH_FILE names. Flower's own basic authentication leaves `/metrics` open; here it
does not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

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
    if file := os.environ.get("FLOWER_BASIC_AUTH_FILE"):
        try:
            os.environ["FLOWER_BASIC_AUTH"] = Path(file).read_text().strip()
        except OSError as error:
            sys.exit(f"flower: FLOWER_BASIC_AUTH_FILE {file}: {error.strerror}")
    given = any(word.replace("_", "-").startswith("--basic-auth=") for word in sys.argv)
    if not given and ":" not in os.environ.get("FLOWER_BASIC_AUTH", ""):
        sys.exit("flower: set FLOWER_BASIC_AUTH to user:password, or FLOWER_BASIC_AUTH_FILE")
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
