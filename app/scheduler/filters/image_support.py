"""What an image wants of the machine that runs it, and whether a hypervisor supports it."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ARCHITECTURES = {"amd64": "x86_64", "x86-64": "x86_64", "arm64": "aarch64"} | dict.fromkeys(
    ("i386", "i486", "i586", "i686"), "i686"
)
_TYPES = {"xapi": "xen"}
_MODES = {"pv": "xen", "hv": "hvm", "baremetal": "hvm"}
_COMPARISONS = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "!=": operator.ne,
    "==": operator.eq,
}
_PREDICATE = re.compile(r"\s*(<=|>=|<|>|!=|==)\s*(\d+(?:\.\d+)*)\s*")


@dataclass(frozen=True)
class Wish:
    """The image's requirements; `kind` is (architecture, hypervisor type, mode) as far as said."""

    kind: frozenset[str]
    version: str | None
    address_bits: Any


def wish(properties: Mapping[str, Any], default_architecture: str | None) -> Wish | None:
    """What the properties require; None when they say nothing of the machine."""
    architecture = _first(properties, "hw_architecture", "architecture") or default_architecture
    kind = {
        _canonical(architecture, _ARCHITECTURES),
        _canonical(_first(properties, "img_hv_type", "hypervisor_type"), _TYPES),
        _canonical(_first(properties, "hw_vm_mode", "vm_mode"), _MODES),
    } - {""}
    if not kind:
        return None
    version = _first(properties, "img_hv_requested_version", "hypervisor_version_requires")
    return Wish(frozenset(kind), version, properties.get("hw_maxphysaddr_bits"))


def runs(wanted: Wish, facts: Mapping[str, Any], version: float) -> bool:
    """Whether a hypervisor with these facts can; its version 7.2.1 is given as 7002001."""
    supported = facts.get("supported_instances") or ()
    if not any(wanted.kind <= set(one) for one in supported):
        return False
    if wanted.version and version and not _satisfies(wanted.version, int(version)):
        return False
    bits = ((facts.get("cpu_info") or {}).get("maxphysaddr") or {}).get("bits")
    if not bits or not wanted.address_bits:
        return True
    try:
        return int(bits) >= int(wanted.address_bits)
    except (TypeError, ValueError):
        return False


def _first(properties: Mapping[str, Any], *names: str) -> str | None:
    return next((str(properties[name]) for name in names if properties.get(name)), None)


def _canonical(value: str | None, aliases: Mapping[str, str]) -> str:
    lower = (value or "").lower()
    return aliases.get(lower, lower)


def _satisfies(requirement: str, version: int) -> bool:
    """Whether the version is as all comparisons, separated by commas, want it."""
    has = (version // 1_000_000, version // 1_000 % 1_000, version % 1_000)
    for part in requirement.split(","):
        match = _PREDICATE.fullmatch(part)
        if match is None:
            return False
        numbers = tuple(int(number) for number in match[2].split("."))[:3]
        if not _COMPARISONS[match[1]](has, numbers + (0,) * (3 - len(numbers))):
            return False
    return True
