"""The stock app, whose worker dies between taking a message and noting that it has it."""

from __future__ import annotations

import os
from typing import Any

from kombu.transport.redis import QoS

from tests.integration.celery_facts.stock import app

__all__ = ["app"]


def _die(self: QoS, message: Any, delivery_tag: str) -> None:
    os._exit(137)


QoS.append = _die
