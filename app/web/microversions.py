"""Compute's microversions: which we speak, which one a request asks for."""

from __future__ import annotations

import re

from werkzeug.datastructures import Headers

from app.errors import Invalid

Version = tuple[int, int]
Range = tuple[Version, Version]
"""The first and the last version that has something."""
MIN, MAX = (2, 1), (2, 104)
_FORM = re.compile(r"([1-9]\d{0,3})\.([1-9]\d{0,3}|0)")
NEW, OLD = "OpenStack-API-Version", "X-OpenStack-Nova-API-Version"


def asked_for(headers: Headers) -> tuple[int, int]:
    """The version that the headers ask for, 2.1 unasked; the newer header form wins.

    Raises Invalid: 400 when it is no version, 406 when it is none of ours.
    """
    text = _compute_part(headers.get(NEW, "")) or headers.get(OLD, "").strip()
    if not text:
        return MIN
    if text.lower() == "latest":
        return MAX
    found = _FORM.fullmatch(text)
    if found is None:
        raise Invalid(
            "API Version String in the microversion header is of invalid format. It must be "
            "'latest' or of format MajorNum.MinorNum."
        )
    version = int(found[1]), int(found[2])
    if not MIN <= version <= MAX:
        raise Invalid(
            f"Version {text} is not supported by the API. Minimum is {shown(MIN)} and maximum "
            f"is {shown(MAX)}.",
            code="unknown_microversion",
        )
    return version


def _compute_part(header: str) -> str:
    # "compute 2.10, volume 3.5": each service has its part.
    for part in header.split(","):
        name, _, version = part.strip().partition(" ")
        if name.lower() == "compute":
            return version.strip() or "missing"
    return ""


def echo(headers: Headers, version: tuple[int, int]) -> None:
    """Say in both forms which version answered."""
    headers[NEW] = f"compute {shown(version)}"
    headers[OLD] = shown(version)
    headers.add("Vary", NEW)
    headers.add("Vary", OLD)


def since(first: Version, *methods: str) -> dict[str, Range]:
    """Methods of a route that `first` brought."""
    return dict.fromkeys(methods, (first, MAX))


def before(gone: Version, *methods: str) -> dict[str, Range]:
    """Methods of a route that are not there any more from `gone` on."""
    return dict.fromkeys(methods, (MIN, (gone[0], gone[1] - 1)))


def shown(version: tuple[int, int]) -> str:
    """`2.104`."""
    return f"{version[0]}.{version[1]}"
