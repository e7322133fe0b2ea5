"""The serial console's log. virtlogd rolls it over: `console.log`, then `.0`, `.1` …, older."""

from __future__ import annotations

from pathlib import Path

LIMIT = 100 * 1024
"""Nova's: at most this many bytes are shown."""


def read_log(path: Path, lines: int | None) -> str:
    """The last `lines` lines (all when None), at most LIMIT bytes; empty when there is none."""
    tail = b""
    for number in range(-1, 10):
        part = path if number < 0 else path.with_name(f"{path.name}.{number}")
        try:
            tail = _tail(part, LIMIT - len(tail)) + tail
        except FileNotFoundError:
            break
        if len(tail) >= LIMIT:
            break
    text = tail.decode(errors="replace")
    if lines is None:
        return text
    kept = text.splitlines(keepends=True)
    return "".join(kept[-lines:]) if lines > 0 else ""


def _tail(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - size))
        return file.read(size)
