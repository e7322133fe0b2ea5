"""Where our rules let packets go, in a network namespace whose kernel applies them."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from app.domain.networking import GuardedPort, Networking, Rule, Segment
from app.virt.libvirt.firewall_rules import HOOKS, restore, rules
from app.virt.libvirt.names import bridge_name
from tests.cloud import eventually

OUT, PING = Rule("egress"), Rule("ingress", "icmp")
LISTEN = (
    "import socket; s = socket.socket({kind}); s.bind(('0.0.0.0', {port})); print('up', flush=True)"
    "; print(s.recvfrom(9)[0].decode(), flush=True)"
)
SEND = "import socket; s = socket.socket({kind}); s.sendto(b'heard', ('{to}', {port}))"
UDPLITE = "socket.AF_INET, socket.SOCK_DGRAM, 136"


@dataclass
class Host:
    """A namespace that routes between its bridges, and others that stand for guests."""

    cloud_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    name: str = field(default_factory=lambda: f"nvh{uuid.uuid4().hex[:8]}")
    spaces: list[str] = field(default_factory=list)

    def start(self) -> None:
        self._space(self.name)
        run("ip", "netns", "exec", self.name, "sysctl", "-qw", "net.ipv4.ip_forward=1")

    def bridge(self, segment: str, address: str) -> None:
        """A bridge of ours with this address (CIDR) of the host."""
        bridge = bridge_name(self.cloud_id, segment)
        self.run("ip", "link", "add", bridge, "type", "bridge")
        self.run("ip", "address", "add", address, "dev", bridge)
        self.run("ip", "link", "set", bridge, "up")

    def peer(self, address: str, gateway: str, bridge: str = "", host: str = "") -> str:
        """A machine in the bridge, or behind a link at whose other end the host has `host`."""
        space = f"{self.name}p{len(self.spaces)}"
        self._space(space)
        inner, outer = "eth0", f"v{len(self.spaces)}"
        self.run("ip", "link", "add", outer, "type", "veth", "peer", inner, "netns", space)
        if bridge:
            self.run("ip", "link", "set", outer, "master", bridge_name(self.cloud_id, bridge))
        else:
            self.run("ip", "address", "add", host, "dev", outer)
        self.run("ip", "link", "set", outer, "up")
        within(space, "ip", "address", "add", address, "dev", inner)
        within(space, "ip", "link", "set", inner, "up")
        within(space, "ip", "route", "add", "default", "via", gateway)
        return space

    def apply(self, state: Networking) -> None:
        saved = {table: self.run("iptables-save", "-t", table) for table in HOOKS}
        text = restore(rules(self.cloud_id, state), saved, self.cloud_id)
        argv = ("ip", "netns", "exec", self.name, "iptables-restore", "-w", "10", "--noflush")
        subprocess.run(argv, input=text, text=True, check=True, timeout=20, capture_output=True)

    def run(self, *argv: str) -> str:
        return within(self.name, *argv)

    def _space(self, name: str) -> None:
        run("ip", "netns", "add", name)
        self.spaces.append(name)
        within(name, "ip", "link", "set", "lo", "up")

    def stop(self) -> None:
        for name in self.spaces:
            subprocess.run(("ip", "netns", "delete", name), check=False, timeout=20)


def run(*argv: str) -> str:
    done = subprocess.run(argv, check=True, timeout=20, capture_output=True, text=True)
    return done.stdout


def within(space: str, *argv: str) -> str:
    return run("ip", "netns", "exec", space, *argv)


def reaches(space: str, address: str) -> bool:
    return attempt(space, "ping", "-c", "1", "-W", "1", address)


def attempt(space: str, *argv: str) -> bool:
    whole = ("ip", "netns", "exec", space, *argv)
    return subprocess.run(whole, check=False, timeout=20, capture_output=True).returncode == 0


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    try:
        made.start()
        yield made
    finally:
        made.stop()


def port(address: str, segment: str, *pairs: str) -> GuardedPort:
    return GuardedPort(
        id=str(uuid.uuid4()), server_id="s", mac="fa:16:3e:00:00:01", address=address,
        segment=segment, groups=("g",), pairs=tuple((one, "fa:16:3e:00:00:01") for one in pairs),
    )  # fmt: skip


def test_a_pair_of_a_tenant_s_choice_does_not_cut_the_host_off(host: Host) -> None:
    host.bridge("own", "10.90.0.1/24")
    host.peer("10.8.0.2/24", "10.8.0.1", host="10.8.0.1/24")
    guest = host.peer("10.90.0.5/24", "10.90.0.1", bridge="own")
    within(guest, "ip", "address", "add", "10.90.0.77/24", "dev", "eth0")
    paired = port("10.90.0.5", "own", "10.8.0.2", "10.8.0.0/16", "10.90.0.77")
    host.apply(Networking(1, (paired,), {"g": (OUT,)}, (Segment("own", "10.90.0.0/24"),)))
    assert eventually(lambda: reaches(host.name, "10.8.0.2"), 10)
    assert not reaches(host.name, "10.90.0.5")
    assert not reaches(host.name, "10.90.0.77")  # the groups hold for pairs too


def test_a_router_leads_between_a_nat_network_and_one_s_own(host: Host) -> None:
    host.bridge("nat", "10.91.0.1/24")
    host.bridge("own", "10.90.0.1/24")
    host.bridge("else", "10.93.0.1/24")
    one = host.peer("10.91.0.5/24", "10.91.0.1", bridge="nat")
    two = host.peer("10.90.0.5/24", "10.90.0.1", bridge="own")
    three = host.peer("10.93.0.5/24", "10.93.0.1", bridge="else")
    ports = (port("10.91.0.5", "nat"), port("10.90.0.5", "own"), port("10.93.0.5", "else"))
    segments = (
        Segment("nat", "10.91.0.0/24", nat=True, router="r"),
        Segment("own", "10.90.0.0/24", router="r"),
        Segment("else", "10.93.0.0/24"),
    )
    host.apply(Networking(1, ports, {"g": (OUT, PING)}, segments))
    assert eventually(lambda: reaches(one, "10.90.0.5"), 10)
    assert eventually(lambda: reaches(two, "10.91.0.5"), 10)
    for stranger, address in ((three, "10.91.0.5"), (three, "10.90.0.5"), (two, "10.93.0.5")):
        assert not reaches(stranger, address)


@pytest.mark.parametrize(("number", "heard"), [(7000, True), (7004, True), (7005, False)])
def test_udplite_is_let_in_by_its_ports(host: Host, number: int, heard: bool) -> None:
    host.bridge("own", "10.90.0.1/24")
    guest = host.peer("10.90.0.5/24", "10.90.0.1", bridge="own")
    groups = {"g": (OUT, Rule("ingress", "udplite", 7000, 7004))}
    segments = (Segment("own", "10.90.0.0/24"),)
    host.apply(Networking(1, (port("10.90.0.5", "own"),), groups, segments))
    argv = ["ip", "netns", "exec", guest, "timeout", "2", "python3", "-c"]
    listen = [*argv, LISTEN.format(kind=UDPLITE, port=number)]
    with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout
        assert listener.stdout.readline() == "up\n"
        send = SEND.format(kind=UDPLITE, port=number, to="10.90.0.5")
        # What its own rules drop, the kernel refuses to send.
        attempt(host.name, "python3", "-c", send)
        assert (listener.stdout.readline() == "heard\n") == heard
