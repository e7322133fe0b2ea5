"""Weighing and choosing, one host after the other."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.domain.request_spec import RequestSpec
from app.scheduler.options import Options
from app.scheduler.rows import AggregateRow, HostRow
from tests.one_by_one.filters import BASIC, FILTERS
from tests.one_by_one.host import Host

FLOORED = {"ram", "cpu", "disk", "io_ops"}


@dataclass
class Chosen:
    """As `Selection`, by the same names."""

    picks: list[list[str]] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    weights: list[dict[str, float]] = field(default_factory=list)


@dataclass
class Wish:
    """The policy by names: filters, and (weigher, multiplier) in order."""

    filters: list[str]
    weighers: list[tuple[str, float]]
    options: Options


def choose(
    rows: list[HostRow],
    aggregates: list[AggregateRow],
    spec: RequestSpec,
    wish: Wish,
    count: int,
    alternates: int,
) -> Chosen:
    """Pick for one server after the other."""
    hosts = [Host.of(row, aggregates) for row in rows]
    for host in hosts:
        host.members = spec.group.members.get(host.row.name, 0) if spec.group else 0
    made, taken = Chosen(), []
    ranked: list[tuple[Host, dict[str, float]]] = []
    for number in range(count):
        fitting, refused = judge(hosts, spec, wish)
        if number == 0 or not fitting:
            made.refused = refused
        if not fitting:
            break
        ranking = rank(fitting, spec, wish)
        if number == 0:
            ranked = ranking
        best, scores = ranking[0]
        taken.append(best)
        made.weights.append(scores)
        take(best, spec)
    if len(taken) > 1:
        fitting, _ = judge(hosts, spec, wish)
        ranked = rank(fitting, spec, wish) if fitting else []
    for one in taken:
        others = [host.row.name for host, _ in ranked[: alternates + 1] if host is not one]
        made.picks.append([one.row.name, *others[:alternates]])
    return made


def judge(hosts: list[Host], spec: RequestSpec, wish: Wish) -> tuple[list[Host], dict[str, int]]:
    """The hosts that pass all filters; how many each is the first to refuse."""
    names = [name for name in wish.filters if spec.forced_host is None or name in BASIC]
    refused = dict.fromkeys(names, 0)
    fitting = []
    for host in hosts:
        for name in names:
            if not FILTERS[name](host, spec, wish.options, hosts):
                refused[name] += 1
                break
        else:
            fitting.append(host)
    return fitting, refused


def rank(hosts: list[Host], spec: RequestSpec, wish: Wish) -> list[tuple[Host, dict[str, float]]]:
    """Best first, with each host's scores by weigher; the earlier first among equals."""
    scores: list[dict[str, float]] = [{} for _ in hosts]
    if len(hosts) > 1:
        for name, multiplier in wish.weighers:
            values = [value(name, host, spec) for host in hosts]
            if name in FLOORED:
                values = [max(one, 0.0) for one in values]
            low, high = 0.0 if name in FLOORED else min(values), max(values)
            for at, host in enumerate(hosts):
                factor = host.least(f"{name}_weight_multiplier", float, multiplier)
                factor = -factor if name == "build_failure" else factor
                part = (values[at] - low) / (high - low) if high != low else 0.0
                scores[at][name] = part * factor
    totals = [sum(found.values(), 0.0) for found in scores]
    order = sorted(range(len(hosts)), key=lambda at: -totals[at])
    return [(hosts[at], scores[at]) for at in order]


def value(name: str, host: Host, spec: RequestSpec) -> float:
    """One weigher's value."""
    policy = spec.group.policy if spec.group else ""
    found = {
        "ram": host.free_ram_mb,
        "cpu": host.row.limit[0] - host.used_vcpus,
        "disk": host.row.total.disk_gb - host.used_disk_gb,
        "io_ops": host.building,
        "num_instances": host.servers,
        "soft_affinity": host.members if policy == "soft-affinity" else 0,
        "soft_anti_affinity": -host.members if policy == "soft-anti-affinity" else 0,
        "build_failure": host.row.failed_builds,
        "hypervisor_version": host.row.hypervisor_version,
    }
    return float(found[name])


def take(host: Host, spec: RequestSpec) -> None:
    """Count one more server there."""
    host.used_vcpus += spec.resources.vcpus
    host.used_ram_mb += spec.resources.ram_mb
    host.used_disk_gb += spec.resources.disk_gb
    host.servers += 1
    host.building += 1
    host.members += 1
