"""What the options ask for, as scenarios: one for each seed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.cli.simulate import snapshot, trace
from app.cli.simulate.snapshot import Snapshot
from app.config import Settings
from app.domain.request_spec import RequestSpec
from app.domain.resources import Resources
from app.errors import Invalid
from app.scheduler import simulation_cloud
from app.scheduler.rows import HostRow
from app.scheduler.simulation import AFTER_LAST, Resident, Scenario
from app.scheduler.simulation_cloud import Kind
from app.scheduler.simulation_demand import (
    FOR_GOOD,
    Arrival,
    Mix,
    Pace,
    arrivals,
    classic,
    kinds,
    lifetimes,
)

MOST_SERVERS = 10_000_000


@dataclass(frozen=True)
class Wish:
    """The options by their names; None where one was not given. Times in seconds."""

    hosts: int | None = None
    host_vcpus: int | None = None
    host_ram_mb: int | None = None
    host_disk_gb: int | None = None
    host_kind: tuple[Kind, ...] = ()
    zones: int | None = None
    cpu_ratio: float | None = None
    ram_ratio: float | None = None
    disk_ratio: float | None = None
    reserved_ram_mb: int | None = None
    snapshot: Path | None = None
    from_cloud: bool = False
    servers: int | None = None
    arrivals: str = "poisson"
    rate: float = 1.0
    burst: int = 10
    lifetime: float = FOR_GOOD
    flavors: Sequence[tuple[str, Resources | None, float]] | None = None
    build_time: float = 30.0
    residents_leave: bool = False
    add_hosts: tuple[int, Resources | None] | None = None
    remove_hosts: str = ""
    rack_dies: str = ""
    lost_at: float | None = None


@dataclass(frozen=True)
class Demand:
    """What is asked for, but for chance: a mix of flavors, or requests as a file has them."""

    mix: Mix
    requests: tuple[Arrival, ...] = ()


def start(wish: Wish, present: Settings) -> Snapshot:
    """The cloud at the start, with the hosts that are added."""
    _refuse_both(wish)
    if wish.snapshot is not None:
        found = snapshot.read(wish.snapshot)
    elif wish.from_cloud:
        found = snapshot.of_cloud()
    else:
        found = Snapshot(_generated(wish, present))
    if wish.add_hosts is not None:
        more = simulation_cloud.added(found.hosts, *wish.add_hosts)
        hosts = sorted([*found.hosts, *more], key=lambda row: row.name)
        found = replace(found, hosts=hosts)
    if not found.hosts:
        raise Invalid("the cloud has no hosts: --hosts or --add-hosts with a size makes some")
    return found


def _refuse_both(wish: Wish) -> None:
    made = {
        "--hosts": wish.hosts,
        "--host-vcpus": wish.host_vcpus,
        "--host-ram-mb": wish.host_ram_mb,
        "--host-disk-gb": wish.host_disk_gb,
        "--host-kind": wish.host_kind or None,
    }
    new = {
        **made,
        "--zones": wish.zones,
        "--cpu-ratio": wish.cpu_ratio,
        "--ram-ratio": wish.ram_ratio,
        "--disk-ratio": wish.disk_ratio,
        "--reserved-ram-mb": wish.reserved_ram_mb,
    }
    if wish.snapshot is not None and wish.from_cloud:
        raise Invalid("--snapshot and --from-cloud exclude each other")
    if wish.snapshot is not None or wish.from_cloud:
        if given := [name for name, value in new.items() if value is not None]:
            raise Invalid(f"{', '.join(given)}: the cloud's hosts are as they are; see --add-hosts")
    elif wish.host_kind and len(given := [n for n, v in made.items() if v is not None]) > 1:
        raise Invalid(f"{', '.join(given)}: kinds of hosts have their number and size already")


def _generated(wish: Wish, present: Settings) -> list[HostRow]:
    plain = Resources(
        wish.host_vcpus or 64, wish.host_ram_mb or 262_144, wish.host_disk_gb or 4_000
    )
    made = wish.host_kind or (Kind(wish.hosts or 100, plain),)
    total = sum(kind.count for kind in made)
    zones = wish.zones or 1
    if zones > total:
        raise Invalid(f"--zones {zones}: there are {total} hosts")
    ratios: dict[str, Any] = {
        name: getattr(present, name) if (given := getattr(wish, name)) is None else given
        for name in ("cpu_ratio", "ram_ratio", "disk_ratio", "reserved_ram_mb")
    }
    for kind in made:
        if kind.total.ram_mb < ratios["reserved_ram_mb"]:
            raise Invalid(
                f"a host with {kind.total.ram_mb} MiB of RAM cannot keep "
                f"{ratios['reserved_ram_mb']} of it: see --reserved-ram-mb"
            )
    return simulation_cloud.generated(made, HostRow("", plain, **ratios), zones)


def demand(wish: Wish, cloud: Snapshot) -> Demand:
    """Who asks for what."""
    known = {spec.flavor_name: spec for spec in classic().specs} | cloud.flavors
    if wish.flavors:
        mix = _mix(wish.flavors, known)
        known |= {spec.flavor_name: spec for spec in mix.specs}
    else:
        mix = _of_residents(cloud) or classic()
    if wish.arrivals in ("poisson", "burst"):
        return Demand(mix)
    if wish.servers == 0:
        return Demand(mix)
    return Demand(mix, tuple(trace.read(Path(wish.arrivals), known, wish.servers)))


def _mix(
    flavors: Sequence[tuple[str, Resources | None, float]], known: Mapping[str, RequestSpec]
) -> Mix:
    specs = []
    for name, size, _ in flavors:
        if size is not None:
            specs.append(RequestSpec(size, flavor_name=name))
        elif name in known:
            specs.append(known[name])
        else:
            names = ", ".join(sorted(known))
            raise Invalid(f"--flavors: {name!r} is none of {names}; say NAME:VCPUS:RAM_MB:DISK_GB")
    return Mix(tuple(specs), tuple(weight for _, _, weight in flavors))


def _of_residents(cloud: Snapshot) -> Mix | None:
    counts: Counter[tuple[str, Resources]] = Counter()
    specs = {}
    for one in cloud.residents:
        key = (one.spec.flavor_name, one.spec.resources)
        counts[key] += 1
        extra = one.spec.extra_specs
        specs[key] = RequestSpec(key[1], flavor_name=key[0], extra_specs=extra)
    if not counts:
        return None
    return Mix(tuple(specs[key] for key in counts), tuple(float(n) for n in counts.values()))


def scenario(wish: Wish, cloud: Snapshot, wanted: Demand, seed: int) -> Scenario:
    """What happens with this seed."""
    chance = np.random.default_rng(seed)
    if wish.arrivals in ("poisson", "burst"):
        count = 1000 if wish.servers is None else wish.servers
        pace = Pace(wish.rate, wish.lifetime, wish.burst if wish.arrivals == "burst" else 1)
        requests = tuple(arrivals(wanted.mix, count, pace, chance))
    else:
        requests = wanted.requests
    settled = wish.snapshot is not None or wish.from_cloud
    return Scenario(
        hosts=tuple(cloud.hosts),
        aggregates=tuple(cloud.aggregates),
        residents=_residents(wish, cloud, chance),
        arrivals=requests,
        lost=_lost(wish, cloud.hosts, np.random.default_rng([seed, 1])),
        lost_at=wish.lost_at if wish.lost_at is not None else (0.0 if settled else AFTER_LAST),
        build_seconds=wish.build_time,
        flavors=kinds(requests) if wanted.requests else wanted.mix.specs,
    )


def _residents(wish: Wish, cloud: Snapshot, chance: np.random.Generator) -> tuple[Resident, ...]:
    if not wish.residents_leave:
        return tuple(cloud.residents)
    stays = lifetimes(len(cloud.residents), wish.lifetime, chance).tolist()
    return tuple(
        replace(one, lifetime=stay) for one, stay in zip(cloud.residents, stays, strict=True)
    )


def _lost(wish: Wish, hosts: list[HostRow], chance: np.random.Generator) -> frozenset[str]:
    names = {name for part in wish.remove_hosts.split(",") if (name := part.strip())}
    if unknown := names - {row.name for row in hosts}:
        raise Invalid(f"--remove-hosts: there is no host {', '.join(sorted(unknown)[:5])}")
    if re.fullmatch(r"\d{1,9}", wish.rack_dies):
        names |= simulation_cloud.rack(hosts, int(wish.rack_dies), chance)
    elif wish.rack_dies:
        names |= simulation_cloud.in_zone(hosts, wish.rack_dies)
    if wish.lost_at is not None and not names:
        raise Invalid("--lost-at: no host is lost; see --remove-hosts and --rack-dies")
    return frozenset(names)
