"""The Celery app of another release: `-A tests.integration.other_version`.

It speaks the message versions of `NOVELLA_OTHER_VERSIONS`, oldest and newest: "1-2".
"""

from __future__ import annotations

import os

from app.domain import message

message.OLDEST, message.VERSION = map(int, os.environ["NOVELLA_OTHER_VERSIONS"].split("-"))

from app.celery import app  # noqa: E402  (what it imports must see the versions)

__all__ = ["app"]
