"""TLS as the web process speaks it: one context, made anew when the certificate was renewed."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from socket import socket
from typing import Any

from app import logs
from app.web.connection import PATIENCE_SECONDS


class PatientContext(ssl.SSLContext):
    """A handshake that stalls may not hold its thread for ever."""

    def wrap_socket(self, sock: socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """See ssl."""
        sock.settimeout(PATIENCE_SECONDS)
        return super().wrap_socket(sock, *args, **kwargs)


class Contexts:
    """The present context; gunicorn asks for it at every connection."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._lock = threading.Lock()
        self._stamp: object = None
        self._context: ssl.SSLContext | None = None

    def current(self, config: object = None, default: Callable[[], Any] | None = None) -> Any:
        """The context of the files as they are now; the former one while a new pair is broken."""
        with self._lock:
            try:
                stamp = [(path.stat().st_mtime_ns, path.stat().st_ino) for path in self._files]
                if stamp != self._stamp:
                    self._context, self._stamp = self._load(), stamp
            except OSError as error:  # ssl.SSLError is one
                if self._context is None:
                    raise
                logs.get(__name__).warning("renewed certificate not usable", error=str(error))
            return self._context

    def _load(self) -> ssl.SSLContext:
        context = PatientContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._files)
        return context
