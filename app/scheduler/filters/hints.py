"""What a create's scheduler hints ask for, and which images need hosts of their own."""

from __future__ import annotations

import ipaddress
import json
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from app.domain.request_spec import RequestSpec
from app.scheduler import attributes
from app.scheduler.host_table import HostTable, Mask
from app.scheduler.options import Options
from app.scheduler.rules import Filter


def same_host(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """Hosts that have one of the servers that the hint names."""
    return None if spec.same_host is None else hosts.named(spec.same_host)


def different_host(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """Hosts that have none of the servers that the hint names."""
    return None if spec.different_host is None else ~hosts.named(spec.different_host)


def simple_cidr_affinity(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """Hosts whose address lies in the network around the one that the hint names."""
    if not spec.near_address:
        return None
    try:
        network = ipaddress.ip_network(f"{spec.near_address}{spec.cidr}", strict=False)
    except ValueError:
        return np.zeros(len(hosts), dtype=bool)
    return np.array([_within(text[0], network) for text in hosts.texts], dtype=bool)


def _within(address: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(address) in network
    except ValueError:
        return False


def isolated_hosts(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """Isolated images only on isolated hosts; if restricted, other images only on the others."""
    if not options.isolated_hosts and not options.isolated_images:
        return None
    isolated = hosts.named(options.isolated_hosts)
    restricted = options.restrict_isolated_hosts_to_isolated_images
    if spec.image_id in options.isolated_images:
        return isolated
    return ~isolated if restricted else None


_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def json_query(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """Hosts for which the hint's query, such as `[">=", "$free_ram_mb", 1024]`, is true.

    A query that is none, or compares what cannot be compared, refuses the host.
    """
    if not spec.query:
        return None
    try:
        query = json.loads(spec.query)
    except (ValueError, RecursionError):
        return np.zeros(len(hosts), dtype=bool)
    columns: dict[str, list[Any] | None] = {}

    def value(position: int, name: str) -> Any:
        if name not in columns:
            columns[name] = attributes.column(hosts, name)
        found = columns[name]
        return None if found is None else found[position]

    passed = [_holds(query, partial(value, at)) for at in range(len(hosts))]
    return np.array(passed, dtype=bool)


def _holds(query: Any, value: Callable[[str], Any]) -> bool:
    try:
        result = _evaluated(query, value)
    except (TypeError, KeyError, IndexError, RecursionError):
        return False
    return any(result) if isinstance(result, list) else bool(result)


def _evaluated(query: Any, value: Callable[[str], Any]) -> Any:
    """A list's first item is the operator; arguments that are nothing are left out, as in Nova."""
    if not query:
        return True
    given = []
    for one in query[1:]:
        argument = one
        if isinstance(one, list):
            argument = _evaluated(one, value)
        elif isinstance(one, str):
            argument = _named(one, value)
        if argument is not None:
            given.append(argument)
    return _applied(query[0], given)


def _applied(name: Any, given: list[Any]) -> Any:
    if name == "not":
        return [not one for one in given]
    if name in ("and", "or"):
        return all(given) if name == "and" else any(given)
    if name == "in":
        return len(given) > 1 and given[0] in given[1:]
    compare = _COMPARISONS[name]
    return len(given) > 1 and all(compare(given[0], one) for one in given[1:])


def _named(text: str, value: Callable[[str], Any]) -> Any:
    if not text.startswith("$"):
        return text or None
    name, *path = text[1:].split(".")
    return attributes.walk(value(name), path)


FILTERS = (
    Filter("same_host", "without the servers to be near", same_host, "SameHostFilter"),
    Filter("different_host", "with servers to avoid", different_host, "DifferentHostFilter"),
    Filter(
        "simple_cidr_affinity",
        "outside the network to be near",
        simple_cidr_affinity,
        "SimpleCIDRAffinityFilter",
    ),
    Filter("json", "not what the query asks for", json_query, "JsonFilter"),
    Filter(
        "isolated_hosts",
        "kept for other images, or not for this one",
        isolated_hosts,
        "IsolatedHostsFilter",
    ),
)
