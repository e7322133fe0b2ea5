"""Times on the wire: seconds since the epoch to and from each service's ISO 8601 form."""

from __future__ import annotations

import functools
import math
from datetime import UTC, datetime

from app.errors import Invalid


def seconds(at: float | None) -> str | None:
    """`2026-01-02T03:04:05Z`, as Nova, Glance and Neutron write it."""
    if at is None:
        return None
    minute, rest = divmod(_microseconds(at), 60_000_000)
    return f"{_minute(minute)}:{rest // 1_000_000:02}Z"


def micros(at: float | None) -> str | None:
    """`2026-01-02T03:04:05.678901`, as Nova writes launch times and action times."""
    if at is None:
        return None
    minute, rest = divmod(_microseconds(at), 60_000_000)
    return f"{_minute(minute)}:{rest // 1_000_000:02}.{rest % 1_000_000:06}"


def _microseconds(at: float) -> int:
    # As datetime rounds, so that what is parsed and shown again is the same.
    part, whole = math.modf(at)
    return int(whole) * 1_000_000 + round(part * 1e6)


@functools.lru_cache(maxsize=4096)
def _minute(minute: int) -> str:
    """`2026-01-02T03:04`; a list has thousands of times, and few minutes."""
    return datetime.fromtimestamp(60 * minute, UTC).isoformat(timespec="minutes")[:16]


def micros_z(at: float | None) -> str | None:
    """`2026-01-02T03:04:05.678901Z`, as Keystone and our own `/v1` write it."""
    text = micros(at)
    return None if text is None else f"{text}Z"


def parse(text: str, field: str) -> float:
    """Read an ISO 8601 time (UTC unless it says otherwise). Raises Invalid naming `field`."""
    try:
        # A "+" in a query string arrives as a space.
        at = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        moment = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        datetime.fromtimestamp(moment, UTC)  # what is kept must be shown again
        return moment
    except (ValueError, OverflowError, OSError) as error:
        raise Invalid(f"{field}: not an ISO 8601 time") from error
