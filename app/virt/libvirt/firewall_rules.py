"""Security groups, routers and floating addresses as rules for iptables: pure.

libvirt's own filters hold guests to their addresses, but see no packet that the host itself sends
or routes to a guest, so what may reach whom is here. Rules go by the guests' addresses, which no
two guests of the cloud share and no guest can forge, in chains whose names bear the cloud's id:

    nv-<cloud>-fwd   what is forwarded, between bridges and (with br_netfilter) within one
    nv-<cloud>-out   what the host sends        nv-<cloud>-inp   what it is sent
    nv-<cloud>-i-…   what may reach a port      nv-<cloud>-e-…   what it may reach
    nv-<cloud>-dst   floating addresses in      nv-<cloud>-src   floating and routed ones out
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.domain.networking import EGRESS, INGRESS, Floating, GuardedPort, Networking, Rule, Segment
from app.domain.security_groups import PROTOCOLS, WITH_PORTS
from app.virt.libvirt.names import bridge_name

ANY_BRIDGE = "nv+"
HOOKS = {
    "filter": {"FORWARD": "fwd", "OUTPUT": "out", "INPUT": "inp"},
    "nat": {"PREROUTING": "dst", "OUTPUT": "dst", "POSTROUTING": "src"},
}
"""Which of our chains hangs in which of the kernel's."""
_PORTS = "-m multiport --dports "
"""The one match that knows the ports of all protocols that have any."""
_SHORT = 11
"""Of an id, in a chain's name: they end at 28 characters."""


def prefix(cloud_id: str) -> str:
    """What the names of all our chains begin with."""
    return f"nv-{cloud_id[:8]}-"


def rules(cloud_id: str, state: Networking) -> dict[str, dict[str, list[str]]]:
    """By table and chain: the rules of `state`; nothing when it has no ports."""
    if not state.ports:
        return {}
    maker = _Rules(cloud_id, state)
    return {"filter": maker.filter(), "nat": maker.nat()}


class _Rules:
    def __init__(self, cloud_id: str, state: Networking) -> None:
        self._prefix = prefix(cloud_id)
        self._state = state
        self._bridges = {one.id: bridge_name(cloud_id, one.id) for one in state.segments}
        self._guarded = [
            port for port in state.ports if port.secured and port.address and port.segment
        ]
        self._members: Mapping[str, list[str]] = {
            group: state.members(group) for group in self._remote_groups()
        }

    def filter(self) -> dict[str, list[str]]:
        chains: dict[str, list[str]] = {self._prefix + one: [] for one in ("fwd", "out", "inp")}
        forward = chains[self._prefix + "fwd"]
        for port in self._guarded:
            bridge = self._bridges[port.segment]
            leaving, coming = self._chain("e", port), self._chain("i", port)
            for address in _addresses(port):
                chains[self._prefix + "inp"].append(f"-i {bridge} -s {address} -j {leaving}")
                # Its own without its bridge: what was sent to a floating address of the host's own
                # still has the loopback's name here. Others, which a tenant chooses freely, only
                # on its bridge: the host keeps its way to whoever has them elsewhere.
                way = "" if address == port.address else f"-o {bridge} "
                chains[self._prefix + "out"].append(f"{way}-d {address} -j {coming}")
                forward.append(f"-i {bridge} -s {address} -j {leaving}")
            chains[leaving] = list(self._port(port, EGRESS))
            chains[coming] = list(self._port(port, INGRESS))
        for port in self._guarded:
            bridge, coming = self._bridges[port.segment], self._chain("i", port)
            forward += [f"-o {bridge} -d {one} -j {coming}" for one in _addresses(port)]
        for segment in self._state.segments:
            forward += self._coming(segment)
        for segment in self._state.segments:
            if not segment.nat:
                forward += self._leaving(segment)
        return chains

    def nat(self) -> dict[str, list[str]]:
        coming: list[str] = []
        leaving: list[str] = []
        for one in self._state.floating:
            coming.append(f"-d {one.address} -j DNAT --to-destination {one.fixed}")
            leaving += self._as_floating(one)
        for segment in self._state.segments:
            if segment.uplink and not segment.nat:
                outside = f"-s {segment.cidr} ! -d {segment.cidr} ! -o {ANY_BRIDGE}"
                leaving.append(f"{outside} -j MASQUERADE")
        return {self._prefix + "dst": coming, self._prefix + "src": leaving}

    def _as_floating(self, one: Floating) -> Iterator[str]:
        segments = {segment.id: segment for segment in self._state.segments}
        if one.segment in segments:
            cidr = segments[one.segment].cidr
            yield f"-s {one.fixed} ! -d {cidr} -j SNAT --to-source {one.address}"

    def _coming(self, segment: Segment) -> Iterator[str]:
        """What reaches a bridge: answers, what floats, and what a router leads there."""
        into = f"-o {self._bridges[segment.id]}"
        yield f"{into} -m conntrack --ctstate DNAT -j ACCEPT"
        yield f"{into} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        for other in self._state.segments:
            if other.id != segment.id and segment.router and other.router == segment.router:
                yield f"-i {self._bridges[other.id]} {into} -j ACCEPT"
        if segment.nat:
            return  # libvirt's own rules say the rest
        yield f"-i {self._bridges[segment.id]} {into} -j ACCEPT"
        yield f"{into} -j REJECT --reject-with icmp-port-unreachable"

    def _leaving(self, segment: Segment) -> Iterator[str]:
        """What leaves a bridge that only a router leads out."""
        out_of = f"-i {self._bridges[segment.id]}"
        yield f"{out_of} -o {ANY_BRIDGE} -j REJECT --reject-with icmp-port-unreachable"
        end = "ACCEPT" if segment.uplink else "REJECT --reject-with icmp-net-unreachable"
        yield f"{out_of} -j {end}"

    def _port(self, port: GuardedPort, direction: str) -> Iterator[str]:
        """A port's chain: it returns what may pass, for others to judge, and drops the rest."""
        there, here = ("67", "68") if direction == INGRESS else ("68", "67")
        yield "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"
        yield f"-p udp -m udp --sport {there} --dport {here} -j RETURN"
        yield "-m conntrack --ctstate INVALID -j DROP"
        seen: dict[str, None] = {}
        for group in port.groups:
            for rule in self._state.groups.get(group, ()):
                if rule.direction == direction:
                    seen.update(dict.fromkeys(self._rule(rule, port)))
        yield from (f"{match}-j RETURN" for match in seen)
        yield "-j DROP"

    def _rule(self, rule: Rule, port: GuardedPort) -> Iterator[str]:
        flag = "-s" if rule.direction == INGRESS else "-d"
        match = _protocol(rule)
        if rule.remote_group is not None:
            for address in self._members.get(rule.remote_group, ()):
                if address != port.address:
                    yield f"{flag} {address} {match}"
        elif rule.remote_ip and not rule.remote_ip.endswith("/0"):
            yield f"{flag} {rule.remote_ip} {match}"
        else:
            yield match

    def _remote_groups(self) -> set[str]:
        every = (rule for rules in self._state.groups.values() for rule in rules)
        return {rule.remote_group for rule in every if rule.remote_group}

    def _chain(self, kind: str, port: GuardedPort) -> str:
        return f"{self._prefix}{kind}-{port.id.replace('-', '')[:_SHORT]}"


def _addresses(port: GuardedPort) -> list[str]:
    """What a port may come from: its own address, and what else it may use."""
    more = [address for address, _ in port.pairs if not address.endswith("/0")]
    return list(dict.fromkeys([str(port.address), *more]))


def _protocol(rule: Rule) -> str:
    """By number: no rule of a user's may be one that iptables cannot read, for then none is."""
    if rule.protocol is None:
        return ""
    number = PROTOCOLS.get(rule.protocol) or int(rule.protocol)
    text = f"-p {number} "
    if rule.port_min is None:
        return text
    if rule.protocol == "icmp":
        code = "" if rule.port_max is None else f"/{rule.port_max}"
        return f"{text}-m icmp --icmp-type {rule.port_min}{code} "
    if rule.protocol not in WITH_PORTS:
        return text
    if rule.port_max in (None, rule.port_min):  # it takes no range of one
        return f"{text}{_PORTS}{rule.port_min} "
    return f"{text}{_PORTS}{rule.port_min}:{rule.port_max} "


def restore(
    wanted: Mapping[str, Mapping[str, list[str]]], saved: Mapping[str, str], cloud_id: str
) -> str:
    """What iptables-restore (with --noflush) is to read, so that of our chains there are the
    `wanted` ones and no others, hanging before libvirt's. `saved` is each table's iptables-save.
    """
    lines: list[str] = []
    for table, hooks in HOOKS.items():
        lines += _table(table, hooks, wanted.get(table, {}), saved.get(table, ""), prefix(cloud_id))
    return "\n".join([*lines, ""])


def _table(
    table: str, hooks: Mapping[str, str], wanted: Mapping[str, list[str]], saved: str, ours: str
) -> Iterator[str]:
    there = [line[1:].split()[0] for line in saved.splitlines() if line.startswith(f":{ours}")]
    stale = sorted(set(there) - set(wanted))
    if not wanted and not there:
        return
    yield f"*{table}"
    for chain in [*wanted, *stale]:
        yield f":{chain} - [0:0]"
    for hook, ending in hooks.items():
        yield from _hang(hook, ours + ending, bool(wanted), saved)
    for chain, found in wanted.items():
        yield from (f"-A {chain} {rule}" for rule in found)
    for chain in stale:
        yield f"-X {chain}"
    yield "COMMIT"


def _hang(hook: str, chain: str, wanted: bool, saved: str) -> Iterator[str]:
    """Have `chain` hang in `hook` before anything of libvirt's, or not at all."""
    present = [line for line in saved.splitlines() if line.startswith(f"-A {hook} ")]
    jump = f"-A {hook} -j {chain}"
    foreign = next((at for at, line in enumerate(present) if "-j LIBVIRT_" in line), len(present))
    right = present.count(jump) == 1 and present.index(jump) < foreign
    if wanted and right:
        return
    for _ in range(present.count(jump)):
        yield f"-D {hook} -j {chain}"
    if wanted:
        yield f"-I {hook} 1 -j {chain}"
