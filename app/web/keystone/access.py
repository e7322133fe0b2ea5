"""Access rules of application credentials: which requests such a token lets in.

Judged here, and not by keystonemiddleware: it makes a regular expression of what a tenant wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from app import logs
from app.web.keystone.asked import Asked

LONGEST = 500
"""Characters of a rule's path; Keystone keeps 128."""
MOST = 200_000
"""Characters of paths that are held against one token's wildcards: a fraction of a second."""
# The path is compared as it is in URLs, with what webob, and so keystonemiddleware, leaves alone.
_SAFE = "/~!$&'()*+,;=:@"
_PARTS = re.compile(r"(?P<rest>\*\*)|(?P<segment>\*|\{[^}]*\})|(?P<text>[^{}*]+)|(?P<odd>.)", re.S)


def allow(token: Mapping[str, Any], kind: str, asked: Asked) -> bool:
    """Whether the access rules of the token, if it has any, have one for the request.

    `kind` is our service's type in the catalog, empty where it has none. What is malformed allows
    nothing. A service token, which must have been found good, makes the request a service's.
    """
    credential = token.get("application_credential")
    if not credential:
        return True
    if not isinstance(credential, Mapping):
        return False
    rules = credential.get("access_rules")
    if rules is None:
        return True
    if not _in_catalog(token.get("catalog"), kind):
        cause = "the service's type is not in the token's catalog"
        logs.get(__name__).warning("access rules allow nothing", service=asked.service, cause=cause)
        return False
    return bool(asked.service_token) or _any_fits(rules, kind, asked)


def _in_catalog(catalog: object, kind: str) -> bool:
    services = catalog if isinstance(catalog, list) else []
    return bool(kind) and any(isinstance(one, dict) and one.get("type") == kind for one in services)


def _any_fits(rules: object, kind: str, asked: Asked) -> bool:
    path, left = quote(asked.path, safe=_SAFE, errors="replace"), MOST
    wanted = (kind, asked.method)
    for rule in rules if isinstance(rules, list) else []:
        if not isinstance(rule, Mapping) or (rule.get("service"), rule.get("method")) != wanted:
            continue
        pattern = rule.get("path")
        if pattern == path:
            return True
        if not isinstance(pattern, str) or not {"*", "{"} & set(pattern):
            continue
        left -= len(path)
        if left < 0:
            return False
        if fits(path, pattern):
            return True
    return False


def fits(path: str, pattern: str) -> bool:
    """Whether a rule's `pattern` is about `path`; takes time by the length of `path` only.

    `*` and `{tag}` are one or more characters without a slash, `**` is anything, the rest is as it
    stands. A brace without its other one, and what is longer than LONGEST, is about nothing.
    """
    parsed = _parsed(pattern) if len(pattern) <= LONGEST else None
    if parsed is None:
        return False
    texts, segments, rests, end = parsed
    # Bit i: all before part i may have been read by now. All such ways are followed at once.
    ways = 1 | ((rests & 1) << 1)
    for character in path:
        read = ((ways & texts.get(character, 0)) << 1) | (ways & rests)
        if character != "/":
            read |= ((ways & segments) << 1) | (ways & (segments << 1))
        ways = read | ((read & rests) << 1)
        if not ways:
            return False
    return bool(ways & end)


def _parsed(pattern: str) -> tuple[dict[str, int], int, int, int] | None:
    """As bits by position: characters that stand for themselves, segments, rests, and the end."""
    texts: dict[str, int] = {}
    segments = rests = 0
    bit = 1
    for found in _PARTS.finditer(pattern):
        if found["odd"]:
            return None
        if found["text"]:
            for character in found["text"]:
                texts[character] = texts.get(character, 0) | bit
                bit <<= 1
        elif found["segment"]:
            segments |= bit
            bit <<= 1
        elif not rests & (bit >> 1):  # two rests in a row are one
            rests |= bit
            bit <<= 1
    return texts, segments, rests, bit
