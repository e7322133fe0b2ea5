"""Structured logs for our code and every library: one line each, ids on all, secrets masked.

`configure` is called once by each entry point. Ids bound with `bind` or `bound` (request_id,
server_id, task_id …) stand on every line that the same thread or task logs afterwards.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.config import Settings
from app.errors import Invalid
from app.redaction import redact, redact_text

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# Celery's own two lines for each task know no server; ours say the same with all ids.
_QUIET = {
    "celery.worker.strategy": "WARNING",
    "celery.app.trace": "WARNING",
    "urllib3": "WARNING",
    "kombu": "WARNING",
    "amqp": "WARNING",
    "alembic": "WARNING",
    # These show requests and tokens' documents.
    "keystoneauth": "WARNING",
    "keystoneclient": "WARNING",
    "keystonemiddleware": "WARNING",
}
_WITH_OWN_HANDLERS = ("celery", "celery.task", "gunicorn.error", "gunicorn.access", "flower")


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose keyword arguments become fields: `get(__name__).info("built", host="n1")`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def configure(settings: Settings, role: str, stream: TextIO | None = None) -> None:
    """Send every log line of this process to stderr (or `stream`), as JSON or for a terminal.

    `role` names the process on each line (web, worker, flower …). Calling it again replaces
    the former configuration. Raises Invalid for an unknown level or format.
    """
    level = settings.log_level.upper()
    if level not in _LEVELS:
        raise Invalid(f"setting log_level: {settings.log_level!r} is not one of {_LEVELS}")
    if settings.log_format not in ("json", "console"):
        raise Invalid(f"setting log_format: {settings.log_format!r} is not json or console")
    common = _common(role)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common, processors=_rendering(settings.log_format)
        )
    )
    _install(handler, level)


def bind(**ids: Any) -> None:
    """Put `ids` on every later line of this context."""
    structlog.contextvars.bind_contextvars(**ids)


def clear() -> None:
    """Forget all bound ids of this context."""
    structlog.contextvars.clear_contextvars()


@contextmanager
def bound(**ids: Any) -> Iterator[None]:
    """Put `ids` on every line inside the block, and take them off again."""
    with structlog.contextvars.bound_contextvars(**ids):
        yield


def _common(role: str) -> list[Processor]:
    def add_role(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event.setdefault("role", role)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_role,
    ]


def _rendering(log_format: str) -> list[Processor]:
    # Tracebacks become text first: text is masked, and shows no local variables.
    steps: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _redacted,
    ]
    if log_format == "json":
        return [*steps, structlog.processors.JSONRenderer(default=str, ensure_ascii=False)]
    return [*steps, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def _redacted(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    try:
        return dict(redact(event))
    except Exception as error:  # noqa: BLE001  (a value's own __str__ may raise anything)
        # A line that cannot be masked is not shown; that it was logged is.
        return {"event": "a log line could not be masked", "fault": redact_text(repr(error))}


def _install(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _WITH_OWN_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(logging.getLevelName(least), root.level))
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    get("app").critical("uncaught exception", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    get("app").critical(
        "uncaught exception",
        thread=args.thread.name if args.thread else None,
        exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
    )
