"""Answers: plain data to JSON in one step (nothing is marshalled field by field)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response


def answer(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`data` as a JSON response."""
    made = Response(orjson.dumps(data), status=status, mimetype="application/json")
    made.headers.update(headers or {})
    return made


def nothing(status: int = 204, headers: Mapping[str, str] | None = None) -> Response:
    """A response without a body."""
    made = Response(status=status)
    made.headers.pop("Content-Type", None)
    made.headers.update(headers or {})
    return made
