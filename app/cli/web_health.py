"""Does our own web process answer? Asked by its address, so no proxy or name is in between."""

from __future__ import annotations

import http.client

from app import tls
from app.config import Settings

SECONDS = 5.0


def lack(settings: Settings, path: str = "/healthz") -> str | None:
    """What is missing until the web process answers `path`; None when it does."""
    address = settings.own_address
    connection: http.client.HTTPConnection
    if settings.tls_certificate:
        context = tls.own_server(settings)
        connection = http.client.HTTPSConnection(
            address, settings.port, timeout=SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(address, settings.port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"no answer yet ({error})"
    finally:
        connection.close()
    return None if status < 400 else f"{path} says {status}"
