"""The operators of extra specs, as Nova's: `>= 4`, `s== text`, `<in> part`, `<or> a <or> b` …

A number that is none is no error: the host does not pass.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

_NUMERIC: dict[str, Callable[[float, float], bool]] = {
    "=": operator.ge,  # at least: kept from when that was the only operator
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
}
_TEXTUAL: dict[str, Callable[[str, str], bool]] = {
    "s==": operator.eq,
    "s!=": operator.ne,
    "s<": operator.lt,
    "s<=": operator.le,
    "s>": operator.gt,
    "s>=": operator.ge,
    "<in>": lambda value, part: part in value,
}


def matches(value: str, wanted: str) -> bool:
    """Whether a host's value is what an extra spec wants of it."""
    words = wanted.split()
    name, words = (words[0], words[1:]) if words else ("", [])
    if name == "<or>":
        # The operator stands between the values again: each second word is one.
        return value in words[::2]
    if name not in _NUMERIC and name not in _TEXTUAL and name != "<all-in>":
        return value == wanted
    if not words:
        return False
    if name == "<all-in>":
        return all(word in value for word in words)
    if name in _TEXTUAL:
        return _TEXTUAL[name](value, words[0])
    try:
        return _NUMERIC[name](float(value), float(words[0]))
    except ValueError:
        return False
