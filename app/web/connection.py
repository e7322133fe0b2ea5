"""The client's connection: how long we put up with one that stalls."""

from __future__ import annotations

from flask import request

PATIENCE_SECONDS = 60.0


def patience(seconds: float) -> None:
    """Let no read or write on this request's connection wait longer than `seconds`.

    A thread serves each request, and gunicorn would have it wait for ever.
    """
    socket = request.environ.get("gunicorn.socket")
    if socket is not None:
        socket.settimeout(seconds)
