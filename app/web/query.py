"""Query strings: paging, flags and numbers, with refusals that name the parameter."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import request

from app.errors import Invalid
from app.web import context

PAGE_LIMIT = 1000
_TRUE = ("1", "t", "true", "on", "y", "yes")
_FALSE = ("0", "f", "false", "off", "n", "no")


def number(name: str, default: int, *, low: int = 0, high: int = 2**31 - 1) -> int:
    """A whole number between `low` and `high`. Raises Invalid for anything else."""
    text = request.args.get(name)
    if text is None:
        return default
    digits = text.lstrip("0") or "0"
    short = len(digits) <= 19 and text.isascii() and text.isdigit()
    if not short or not low <= int(digits) <= high:
        raise Invalid(
            f"Invalid input for query parameter {name}: not a whole number from {low} to {high}"
        )
    return int(digits)


def limit(name: str = "limit") -> int:
    """How many items a page may have: what was asked, at most PAGE_LIMIT."""
    return min(number(name, PAGE_LIMIT), PAGE_LIMIT)


def flag(name: str) -> bool | None:
    """A yes or no in any of the usual spellings, None when absent."""
    text = request.args.get(name)
    return None if text is None else truth(name, text)


def truth(name: str, text: str) -> bool:
    """The yes or no that the parameter `name` says. Raises Invalid for anything else."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise Invalid(f"Invalid input for query parameter {name}: not true or false")


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    """One of `allowed`."""
    text = request.args.get(name) or default
    if text not in allowed:
        raise Invalid(f"Invalid input for query parameter {name}: not one of {', '.join(allowed)}")
    return text


def next_page(marker: str, size: int, *, absolute: bool = True) -> str:
    """The address of the page after `marker`."""
    kept = [(k, v) for k, v in request.args.items(multi=True) if k not in ("marker", "limit")]
    query = urlencode([*kept, ("limit", size), ("marker", marker)])
    root = context.base_url() if absolute else ""
    return f"{root}{request.path}?{query}"
