"""Whether a host is the kind of machine that flavor and image want."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from app.domain.request_spec import RequestSpec
from app.scheduler import attributes
from app.scheduler.filters import image_support
from app.scheduler.filters.operators import matches
from app.scheduler.host_table import HostTable, Mask
from app.scheduler.options import Options
from app.scheduler.rules import Filter

_TRAIT = re.compile(r"trait(?:[a-zA-Z0-9_-]{1,64})?:(.+)")
_ADDRESS_BITS = "hw:maxphysaddr_bits"


def compute_capabilities(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """Hosts whose attributes are as the flavor's `capabilities:` extra specs want.

    A key without a namespace counts when hosts have an attribute of that name.
    """
    masks = []
    for key, wanted in _capabilities(spec.extra_specs):
        name, *path = key
        found = attributes.column(hosts, name)
        if found is None:
            masks.append(np.zeros(len(hosts), dtype=bool))
            continue
        values = [attributes.walk(value, path) for value in found]
        known: dict[str, bool] = {}
        passed = [value is not None and _match(known, str(value), wanted) for value in values]
        masks.append(np.array(passed, dtype=bool))
    return np.asarray(np.logical_and.reduce(masks)) if masks else None


def _match(known: dict[str, bool], value: str, wanted: str) -> bool:
    if value not in known:
        known[value] = matches(value, wanted)
    return known[value]


def _capabilities(extra_specs: Mapping[str, str]) -> list[tuple[list[str], str]]:
    found = []
    for key, wanted in extra_specs.items():
        scope = key.split(":")
        if key == _ADDRESS_BITS:
            found.append((["cpu_info", "maxphysaddr", "bits"], f">= {wanted}"))
        elif len(scope) == 1 and key in attributes.NAMES:
            found.append((scope, wanted))
        elif len(scope) > 1 and scope[0] == "capabilities":
            found.append((scope[1:], wanted))
    return found


def traits(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """Hosts with every required trait of flavor and image, and no forbidden one."""
    required: set[str] = set()
    forbidden: set[str] = set()
    for key, wanted in [*spec.extra_specs.items(), *spec.image_properties.items()]:
        if match := _TRAIT.fullmatch(key):
            {"required": required, "forbidden": forbidden}.get(str(wanted), set()).add(match[1])
    if not required and not forbidden:
        return None

    def passes(facts: dict[str, Any]) -> bool:
        has = set(facts.get("traits") or ())
        return required <= has and not forbidden & has

    return hosts.by_facts(passes)


def image_properties(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """Hosts that can run guests of the image's architecture, hypervisor type and mode."""
    wish = image_support.wish(spec.image_properties, options.image_properties_default_architecture)
    if wish is None:
        return None
    versions = hosts.hypervisor_version.tolist()
    pairs = list(zip(hosts.facts.codes.tolist(), versions, strict=True))
    verdicts = {
        (code, version): image_support.runs(wish, json.loads(hosts.facts.values[code]), version)
        for code, version in set(pairs)
    }
    return np.array([verdicts[pair] for pair in pairs], dtype=bool)


FILTERS = (
    Filter(
        "compute_capabilities",
        "without a capability that the flavor wants",
        compute_capabilities,
        "ComputeCapabilitiesFilter",
    ),
    Filter("traits", "without a required trait, or with a forbidden one", traits),
    Filter(
        "image_properties",
        "unable to run the image's kind of guest",
        image_properties,
        "ImagePropertiesFilter",
    ),
)
