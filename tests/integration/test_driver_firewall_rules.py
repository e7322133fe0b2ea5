"""What is made of security group rules is read by the kernel's own tool: one that it cannot read
would leave a host's guests without any."""

from __future__ import annotations

import subprocess

import pytest

from app.domain.networking import EGRESS, INGRESS, GuardedPort, Networking, Rule, Segment
from app.domain.security_groups import ICMP, PROTOCOLS, WITH_PORTS
from app.virt.libvirt import firewall_rules

CLOUD = "11111111-2222-3333-4444-555555555555"
RANGES = ((22, 22), (1, 65535), (0, 65535), (0, 0), (65535, 65535), (80, None), (None, None))


def read(*rules: Rule) -> subprocess.CompletedProcess[str]:
    """What iptables-restore makes of one port with those rules, in a network of its own."""
    port = GuardedPort("port-1", "server-1", "52:54:00:00:00:01", "10.9.0.5", "net-1", ("group",))
    segment = Segment("net-1", "10.9.0.0/24", nat=True)
    state = Networking(1, (port,), {"group": rules}, (segment,))
    text = firewall_rules.restore(firewall_rules.rules(CLOUD, state), {}, CLOUD)
    return subprocess.run(
        ["unshare", "--net", "iptables-restore", "--noflush"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
    )


def of(protocol: str | None) -> list[Rule]:
    """Every form of a rule about a protocol."""
    if protocol in ICMP:
        kinds = [(None, None), (8, None), (8, 0), (0, 0), (255, 255)]
    else:
        kinds = [*RANGES] if protocol in WITH_PORTS else [(None, None)]
    return [
        Rule(direction, protocol, low, high, remote)
        for direction in (INGRESS, EGRESS)
        for low, high in kinds
        for remote in (None, "0.0.0.0/0", "192.0.2.0/24", "192.0.2.7")
    ]


@pytest.mark.parametrize("protocol", [None, *sorted(PROTOCOLS), "0", "99", "255"])
def test_every_form_of_a_rule_about_a_protocol_is_read(protocol: str | None) -> None:
    done = read(*of(protocol))
    assert (done.returncode, done.stderr) == (0, "")
