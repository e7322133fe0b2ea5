"""gunicorn's configuration. One process, many threads: a thread costs nothing until it is used,
and a long wait or an upload keeps one busy without delaying anybody else."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any

from gunicorn.glogging import Logger

from app import logs, tls
from app.config import settings
from app.errors import NovellaError
from app.web import heap, modes
from app.web.factory import extensions_of
from app.web.image import uploads
from app.web.policy import RULES
from app.web.policy.judge import Judge
from app.web.tls import Contexts

try:
    _settings = settings()
    tls.check(_settings)
    modes.check(_settings)
    # What is wrong ends the start here, and not worker after worker.
    Judge.of(_settings, {**RULES, **extensions_of(_settings).rules})
except NovellaError as error:
    sys.exit(f"web: {error.message}")

bind = f"[{_settings.bind}]" if ":" in _settings.bind else _settings.bind
bind = f"{bind}:{_settings.port}"
worker_class = "gthread"
workers = 1
threads = _settings.web_threads
# Idle keep-alive connections are held besides those being served.
worker_connections = _settings.web_threads + 1000
backlog = 2048
keepalive = 75
# The heartbeat of the worker's main loop, not a limit on requests.
timeout = 60
graceful_timeout = 10
accesslog = None
errorlog = "-"
control_socket_disable = True
# Whom to believe about X-Forwarded-* is the setting `trusted_proxies`, and nobody else's matter.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
if _settings.tls_certificate and _settings.tls_key:
    certfile, keyfile = str(_settings.tls_certificate), str(_settings.tls_key)
    ssl_context = Contexts(_settings.tls_certificate, _settings.tls_key).current


class logger_class(Logger):  # gunicorn's name for it
    """gunicorn's own lines in the shape of all others."""

    def setup(self, cfg: Any) -> None:
        """See gunicorn."""
        logs.configure(_settings, "web")


def post_fork(server: Any, worker: Any) -> None:
    """End with the master, even when that is killed: an orphan would keep the port for seconds,
    and the web that is started next could not have it."""
    pr_set_pdeathsig = 1  # prctl(2)
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != worker.ppid:
        os._exit(1)


def post_worker_init(worker: Any) -> None:
    """Clean up after uploads that died with the process before this one; tidy the heap."""
    heap.settle()
    try:
        uploads.recover(_settings)
    except NovellaError as error:
        logs.get(__name__).warning("uploads not recovered", error=error.message)
