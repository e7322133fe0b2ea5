"""Every filter, for one host at a time: may this host take one more server of the request?"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from typing import Any

from app.domain.request_spec import RequestSpec
from app.scheduler.options import Options
from tests.one_by_one.host import Host

Passes = Callable[[Host, RequestSpec, Options, list[Host]], bool]
BASIC = {"compute", "forced_host", "retry", "vcpus", "ram", "disk"}
BASIC |= {"group_affinity", "group_anti_affinity"}


def operator_matches(value: str, wanted: str) -> bool:
    words = wanted.split()
    if not words:
        return value == wanted
    if words[0] == "<or>":
        return any(word == value for at, word in enumerate(words) if at % 2 == 1)
    known = (
        "=",
        "==",
        "!=",
        ">=",
        "<=",
        "<in>",
        "<all-in>",
        "s==",
        "s!=",
        "s<",
        "s<=",
        "s>",
        "s>=",
    )
    if words[0] not in known:
        return value == wanted
    if len(words) < 2:
        return False
    if words[0] == "<in>":
        return words[1] in value
    if words[0] == "<all-in>":
        return all(word in value for word in words[1:])
    left: Any = value
    right: Any = words[1]
    if not words[0].startswith("s"):
        try:
            left, right = float(value), float(words[1])
        except ValueError:
            return False
    sign = words[0].removeprefix("s")
    if sign == "==":
        return bool(left == right)
    if sign == "!=":
        return bool(left != right)
    if sign in ("=", ">="):
        return bool(left >= right)
    if sign == "<=":
        return bool(left <= right)
    return bool(left < right if sign == "<" else left > right)


def compute_capabilities(host: Host, spec: RequestSpec, options: Options, _: list[Host]) -> bool:
    for key, wanted in spec.extra_specs.items():
        path = key.split(":")
        if len(path) == 1:
            if host.attribute(key) is None and key != "cpu_info":
                continue
        elif path[0] == "capabilities":
            path = path[1:]
        else:
            continue
        value = host.at(path)
        if value is None or not operator_matches(str(value), wanted):
            return False
    return True


def traits(host: Host, spec: RequestSpec, options: Options, _: list[Host]) -> bool:
    has = host.facts.get("traits", [])
    for key, wanted in [*spec.extra_specs.items(), *spec.image_properties.items()]:
        if key.startswith("trait:"):
            name = key.removeprefix("trait:")
            if wanted == "required" and name not in has:
                return False
            if wanted == "forbidden" and name in has:
                return False
    return True


def image_properties(host: Host, spec: RequestSpec, options: Options, _: list[Host]) -> bool:
    wanted = [
        spec.image_properties.get("hw_architecture")
        or options.image_properties_default_architecture,
        spec.image_properties.get("img_hv_type"),
        spec.image_properties.get("hw_vm_mode"),
    ]
    wanted = [one.lower() for one in wanted if one]
    if not wanted:
        return True
    kinds = host.facts.get("supported_instances", [])
    if not any(all(one in kind for one in wanted) for kind in kinds):
        return False
    least = spec.image_properties.get("img_hv_requested_version")
    if least and host.row.hypervisor_version:  # generated as ">=MAJOR.MINOR"
        major, minor = least.removeprefix(">=").split(".")
        return host.row.hypervisor_version >= int(major) * 1_000_000 + int(minor) * 1_000
    return True


def group_affinity(host: Host, spec: RequestSpec, options: Options, hosts: list[Host]) -> bool:
    if spec.group is None or spec.group.policy != "affinity":
        return True
    if sum(spec.group.members.values()) + sum(one.members for one in hosts) == 0:
        return True
    return host.members > 0


def group_anti_affinity(host: Host, spec: RequestSpec, options: Options, _: list[Host]) -> bool:
    if spec.group is None or spec.group.policy != "anti-affinity":
        return True
    return host.members < spec.group.max_server_per_host


def simple_cidr_affinity(host: Host, spec: RequestSpec, options: Options, _: list[Host]) -> bool:
    if not spec.near_address:
        return True
    try:
        around = ipaddress.ip_network(spec.near_address + spec.cidr, strict=False)
        return ipaddress.ip_address(host.row.address) in around
    except ValueError:
        return False


def json_query(host: Host, spec: RequestSpec, options: Options, _: list[Host]) -> bool:
    if not spec.query:
        return True
    try:
        answer = evaluate(json.loads(spec.query), host)
    except (ValueError, TypeError, KeyError):
        return False
    return any(answer) if isinstance(answer, list) else bool(answer)


def evaluate(query: Any, host: Host) -> Any:
    if not query:
        return True
    given = []
    for one in query[1:]:
        if isinstance(one, list):
            one = evaluate(one, host)
        elif isinstance(one, str):
            one = host.at(one[1:].split(".")) if one.startswith("$") else (one or None)
        if one is not None:
            given.append(one)
    name = query[0]
    if name == "not":
        return [not one for one in given]
    if name == "or":
        return any(given)
    if name == "and":
        return all(given)
    if name not in ("=", "<", ">", "in", "<=", ">="):
        raise KeyError(name)
    if len(given) < 2:
        return False
    first, rest = given[0], given[1:]
    if name == "in":
        return first in rest
    tests: dict[str, Callable[[Any], bool]] = {
        "=": lambda one: first == one,
        "<": lambda one: first < one,
        ">": lambda one: first > one,
        "<=": lambda one: first <= one,
        ">=": lambda one: first >= one,
    }
    return all(tests[name](one) for one in rest)


def isolated_hosts(host: Host, spec: RequestSpec, options: Options, _: list[Host]) -> bool:
    isolated = host.row.name in options.isolated_hosts
    restricted = options.restrict_isolated_hosts_to_isolated_images
    if not options.isolated_images:
        return not restricted or not isolated
    image = spec.image_id in options.isolated_images
    return image == isolated if restricted else isolated or not image


def extra_specs(host: Host, spec: RequestSpec, options: Options, _: list[Host]) -> bool:
    for key, wanted in spec.extra_specs.items():
        scope, colon, name = key.partition(":")
        if colon and scope != "aggregate_instance_extra_specs":
            continue
        values = host.values(name if colon else key)
        if not any(operator_matches(value, wanted) for value in values):
            return False
    return True


def image_isolation(host: Host, spec: RequestSpec, options: Options, _: list[Host]) -> bool:
    namespace = options.aggregate_image_properties_isolation_namespace
    for key in {key for one in host.aggregates for key in one.metadata}:
        start = f"{namespace}{options.aggregate_image_properties_isolation_separator}"
        if namespace and not key.startswith(start):
            continue
        has = spec.image_properties.get(key)
        if has and str(has) not in host.values(key):
            return False
    return True


def tenants(host: Host, spec: RequestSpec, options: Options, _: list[Host]) -> bool:
    keys = {key for one in host.aggregates for key in one.metadata}
    found = set().union(*(host.values(key) for key in keys if key.startswith("filter_tenant_id")))
    return not found or spec.project_id in found


def type_affinity(host: Host, spec: RequestSpec, options: Options, _: list[Host]) -> bool:
    types = host.values("instance_type")
    return not types or spec.flavor_name in types


FILTERS: dict[str, Passes] = {
    "compute": lambda host, spec, options, hosts: host.row.usable,
    "all_hosts": lambda host, spec, options, hosts: True,
    "availability_zone": lambda host, spec, options, hosts: spec.zone in (None, host.row.zone),
    "forced_host": lambda host, spec, options, hosts: spec.forced_host in (None, host.row.name),
    "retry": lambda host, spec, options, hosts: host.row.name not in spec.tried,
    "vcpus": lambda host, spec, options, hosts: (
        host.row.limit[0] - host.used_vcpus >= spec.resources.vcpus <= host.row.total.vcpus
    ),
    "ram": lambda host, spec, options, hosts: (
        host.row.limit[1] - host.used_ram_mb >= spec.resources.ram_mb <= host.row.total.ram_mb
    ),
    "disk": lambda host, spec, options, hosts: (
        host.row.limit[2] - host.used_disk_gb >= spec.resources.disk_gb <= host.row.total.disk_gb
    ),
    "traits": traits,
    "compute_capabilities": compute_capabilities,
    "image_properties": image_properties,
    "num_instances": lambda host, spec, options, hosts: (
        host.servers < options.max_instances_per_host
    ),
    "io_ops": lambda host, spec, options, hosts: host.building < options.max_io_ops_per_host,
    "aggregate_num_instances": lambda host, spec, options, hosts: (
        host.servers < host.least("max_instances_per_host", int, options.max_instances_per_host)
    ),
    "aggregate_io_ops": lambda host, spec, options, hosts: (
        host.building < host.least("max_io_ops_per_host", int, options.max_io_ops_per_host)
    ),
    "same_host": lambda host, spec, options, hosts: (
        spec.same_host is None or host.row.name in spec.same_host
    ),
    "different_host": lambda host, spec, options, hosts: (
        spec.different_host is None or host.row.name not in spec.different_host
    ),
    "simple_cidr_affinity": simple_cidr_affinity,
    "json": json_query,
    "isolated_hosts": isolated_hosts,
    "group_affinity": group_affinity,
    "group_anti_affinity": group_anti_affinity,
    "aggregate_instance_extra_specs": extra_specs,
    "aggregate_image_properties_isolation": image_isolation,
    "aggregate_multi_tenancy_isolation": tenants,
    "aggregate_type_affinity": type_affinity,
}
