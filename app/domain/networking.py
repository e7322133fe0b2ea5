"""What hosts are told of guests' networking: who may reach whom, what leads where.

A host keeps the newest state that it was told and puts all of it into force at once. A build's
plan bears the part that its own server needs, at the revision that stood when it was read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

INGRESS, EGRESS = "ingress", "egress"


def network_of(prefix: str | None) -> str | None:
    """The network of a rule's prefix, which owners may write with the bits of an address."""
    return None if prefix is None else str(ip_network(prefix, strict=False))


@dataclass(frozen=True)
class Rule:
    """What a security group lets pass over IPv4; None is anything.

    `protocol` is a name or number as iptables knows it; for `icmp` the ports are type and code.
    """

    direction: str
    protocol: str | None = None
    port_min: int | None = None
    port_max: int | None = None
    remote_ip: str | None = None
    remote_group: str | None = None


@dataclass(frozen=True)
class GuardedPort:
    """A guest's interface. `pairs` are (address or CIDR, MAC) that it may use besides its own;
    one that is not `secured` is neither filtered nor held to its addresses."""

    id: str
    server_id: str
    mac: str
    address: str | None
    segment: str
    groups: tuple[str, ...] = ()
    secured: bool = True
    pairs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Segment:
    """A bridge. `nat` ones lead out by themselves; others reach those of the same `router`, and
    the world when it has an `uplink`."""

    id: str
    cidr: str
    nat: bool = False
    router: str | None = None
    uplink: bool = False


@dataclass(frozen=True)
class Floating:
    """An address that stands for a guest's own on this host."""

    address: str
    fixed: str
    segment: str


@dataclass(frozen=True)
class Networking:
    """The state of one host at a revision, or a part of it; `groups` has each group's rules."""

    revision: int = 0
    ports: tuple[GuardedPort, ...] = ()
    groups: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    floating: tuple[Floating, ...] = ()

    def members(self, group: str) -> list[str]:
        """The addresses of this host's ports in a group."""
        return sorted({p.address for p in self.ports if p.address and group in p.groups})

    def of(self, server_id: str) -> tuple[GuardedPort, ...]:
        """The ports of one server."""
        return tuple(port for port in self.ports if port.server_id == server_id)


@dataclass(frozen=True)
class Known:
    """What a host knows, with the revision at which it was told each thing (by its key).

    `built` are the ports that it learnt of from builds: a state that was read before their
    servers were claimed does not have them, and they stay until their guest goes.
    """

    state: Networking = Networking()
    at: Mapping[str, int] = field(default_factory=dict)
    built: frozenset[str] = frozenset()


def merged(known: Known, news: Networking, *, build: bool) -> Known:
    """`known` after `news`: a build's part, or else the whole state of the host.

    Of each thing the newer word counts, whichever comes first.
    """
    at = dict(known.at)
    ports = {port.id: port for port in known.state.ports}
    groups = dict(known.state.groups)
    segments = {one.id: one for one in known.state.segments}
    floating = {one.fixed: one for one in known.state.floating}
    told = {one.fixed: one for one in news.floating}

    def is_news(kind: str, key: str) -> bool:
        name = f"{kind}:{key}"
        if news.revision < at.get(name, 0):
            return False
        at[name] = news.revision
        return True

    for port in news.ports:
        if is_news("port", port.id):
            # An address has one port: who had it before has let go of it.
            ports = {k: v for k, v in ports.items() if not v.address or v.address != port.address}
            ports[port.id] = port
            floating.pop(port.address or "", None)
            if port.address in told:
                floating[port.address] = told[port.address]
    groups |= {group: rules for group, rules in news.groups.items() if is_news("group", group)}
    segments |= {one.id: one for one in news.segments if is_news("segment", one.id)}
    built = known.built | {port.id for port in news.ports} if build else known.built
    whole = {port.id for port in news.ports}
    if not build and news.revision >= known.state.revision:
        ports = {key: port for key, port in ports.items() if key in whole or key in built}
    state = Networking(
        revision=max(known.state.revision, 0 if build else news.revision),
        ports=tuple(ports[key] for key in sorted(ports)),
        groups=groups,
        segments=tuple(segments[key] for key in sorted(segments)),
        floating=tuple(sorted(floating.values(), key=lambda one: one.address)),
    )
    return _used(Known(state, at, built))


def part(whole: Networking, server_id: str, revision: int) -> Networking:
    """What one server needs of a state, as of a revision."""
    return _trimmed(replace(whole, revision=revision, ports=whole.of(server_id)))


def surviving(state: Networking, gone: Collection[str]) -> Networking:
    """A told state without the ports of servers that have gone from the host since."""
    return replace(state, ports=tuple(one for one in state.ports if one.server_id not in gone))


def without(known: Known, server_id: str) -> Known:
    """`known` after a server has gone, with nothing that only it used."""
    return _keeping(known, [one for one in known.state.ports if one.server_id != server_id])


def without_port(known: Known, port_id: str) -> Known:
    """`known` after a port has gone, likewise."""
    return _keeping(known, [one for one in known.state.ports if one.id != port_id])


def _keeping(known: Known, ports: list[GuardedPort]) -> Known:
    return _used(replace(known, state=replace(known.state, ports=tuple(ports))))


def _trimmed(state: Networking) -> Networking:
    """`state` without what none of its ports uses."""
    groups = {group for port in state.ports for group in port.groups}
    segments = {port.segment for port in state.ports}
    fixed = {port.address for port in state.ports}
    return Networking(
        revision=state.revision,
        ports=state.ports,
        groups={group: rules for group, rules in state.groups.items() if group in groups},
        segments=tuple(one for one in state.segments if one.id in segments),
        floating=tuple(one for one in state.floating if one.fixed in fixed),
    )


def _used(known: Known) -> Known:
    """`known` without what none of its ports uses."""
    kept = _trimmed(known.state)
    ids = {port.id for port in kept.ports}
    keys = {f"port:{one}" for one in ids} | {f"group:{one}" for one in kept.groups}
    keys |= {f"segment:{one.id}" for one in kept.segments}
    at = {name: revision for name, revision in known.at.items() if name in keys}
    return Known(kept, at, known.built & ids)


def networking(data: Mapping[str, Any]) -> Networking:
    """Read a Networking back from plain data. Raises KeyError or TypeError when broken."""
    return Networking(
        revision=int(data["revision"]),
        ports=tuple(_port(one) for one in data["ports"]),
        groups={
            group: tuple(Rule(**_told(Rule, rule)) for rule in rules)
            for group, rules in data["groups"].items()
        },
        segments=tuple(Segment(**_told(Segment, one)) for one in data["segments"]),
        floating=tuple(Floating(**_told(Floating, one)) for one in data["floating"]),
    )


def _port(data: Mapping[str, Any]) -> GuardedPort:
    told = _told(GuardedPort, data)
    told["groups"] = tuple(data["groups"])
    told["pairs"] = tuple((address, mac) for address, mac in data["pairs"])
    return GuardedPort(**told)


def _told(made: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """What this code knows of what a newer sender may tell."""
    return {name: data[name] for name in made.__dataclass_fields__ if name in data}
