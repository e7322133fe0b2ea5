"""The signing keys: files `*.key` in one directory, newest first; the newest signs, all verify."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

_KEPT: dict[Path, tuple[int, tuple[str, ...]]] = {}
_SETTLED_NS = 2_000_000_000
"""A directory's time is coarse: of two changes in one tick the second does not move it."""


def load_keys(directory: Path) -> list[str]:
    """All keys in `directory`, newest first; makes the first one when there is none.

    Rotation is adding a file: old keys verify until their files are removed. What was read is
    kept until the directory changes.
    """
    changed = _changed_at(directory)
    if (kept := _KEPT.get(directory)) and kept[0] == changed:
        return list(kept[1])
    keys = _read(directory)
    if not keys:
        _make(directory)
        keys = _read(directory)
    elif time.time_ns() - changed > _SETTLED_NS:
        _KEPT[directory] = (changed, tuple(keys))
    return keys


def _changed_at(directory: Path) -> int:
    try:
        return directory.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _read(directory: Path) -> list[str]:
    found = [(path.stat().st_mtime_ns, path.name, path) for path in directory.glob("*.key")]
    texts = [path.read_text().strip() for _, _, path in sorted(found, reverse=True)]
    return [text for text in texts if text]


def _make(directory: Path) -> None:
    # Linked into place complete: of two processes that start at once, one wins, both read it.
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = directory / f".{secrets.token_hex(8)}.draft"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, directory / "0001.key")
    except FileExistsError:
        pass
    finally:
        draft.unlink()
