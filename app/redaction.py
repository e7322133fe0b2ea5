"""Masks secrets in anything that leaves the process as text: logs, task arguments, reports."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

MASK = "***"

_KEYS = (
    "password",
    "passwd",
    "adminpass",
    "token",
    "secret",
    "userdata",
    "authorization",
    "cookie",
    "privatekey",
    "apikey",
    "credential",
)
_DEEPEST = 8
_NAMES = (
    r"[\w-]*(?:passw(?:or)?d|adminPass|token|secret|user_?data|cookie|private_?key|api_?key)[\w-]*"
)
_PATTERNS = (
    # scheme://user:password@host
    (re.compile(r"([a-z][a-z0-9+.-]*://[^\s/@:]*):[^\s/@]+@", re.I), rf"\1:{MASK}@"),
    # Authorization: Bearer abc
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.I), rf"\1 {MASK}"),
    # "password": "it is long", adminPass=abc, X-Auth-Token: abc
    (
        re.compile(
            rf"""(["']?\b{_NAMES}["']?\s*[:=]\s*)("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s"',;&)}}\]]+)""",
            re.I,
        ),
        rf"\1{MASK}",
    ),
    # Fernet tokens, and signed JSON (plain or compressed) in URL-safe base64
    (re.compile(r"\bgAAAA[A-Za-z0-9_=-]{8,}"), MASK),
    (re.compile(r"(?<![\w-])\.?(?:eyJ|eJ)[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]{4,})+"), MASK),
)


_MARKS = ("@", "gAAAA", "eJ", "eyJ", "bearer", "bas")
_NAMED = ("pass", "token", "secret", "data", "cook", "key")
"""Without one of these a text matches no pattern: most of what is logged is told so at once."""


def is_secret(key: object) -> bool:
    """Whether values under `key` are secrets by its name, however it is spelled."""
    return _is_secret(str(key))


@functools.lru_cache(maxsize=1024)
def _is_secret(key: str) -> bool:
    plain = re.sub(r"[^a-z]", "", key.lower())
    return any(word in plain for word in _KEYS)


def redact_text(text: str) -> str:
    """`text` with everything that looks like a credential masked."""
    if not _may_match(text):
        return text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _may_match(text: str) -> bool:
    # For re.I four more letters are one of a to z: casefold turns two of them into s and k, and
    # the others, which are an i, are in none of the marks.
    folded = text.casefold()
    if any(mark in text or mark in folded for mark in _MARKS):
        return True
    return (":" in text or "=" in text) and any(name in folded for name in _NAMED)


def redact(value: Any, depth: int = 0) -> Any:
    """A copy of `value` (mappings and lists of anything) with secrets masked."""
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {key: _redact_item(key, item, depth) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth + 1) for item in value]
    return redact_text(str(value))


def _redact_item(key: object, value: Any, depth: int) -> Any:
    # A number or a flag under such a name (token_seconds, has_password) tells no secret.
    if is_secret(key) and value not in (None, "") and not isinstance(value, bool | int | float):
        return MASK
    return redact(value, depth + 1)
