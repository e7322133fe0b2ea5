"""Security groups, isolation and floating addresses, proved with guests that listen."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from app.domain.message import BuildPlan, Nic
from app.domain.networking import Floating, GuardedPort, Networking, Rule, Segment
from app.virt.libvirt import firewall_rules
from app.virt.libvirt.filters import filter_name
from tests.cloud import eventually
from tests.integration.test_driver_qemu import booting, running, tiny, tiny_plan, wait_for_ready
from tests.integration.virt_fixtures import Hypervisor, OwnLibvirtd

pytest_plugins = ["tests.integration.virt_fixtures"]
__all__ = ["booting", "tiny"]
NET = "10.77.3"
ICMP = Rule("ingress", "icmp")
WEB = Rule("ingress", "tcp", 8080, 8080, "0.0.0.0/0")
OUT = Rule("egress")
FLOATING = "192.0.2.77"
SCRIPT = """#!/bin/sh
httpd -p 8080 -h / 2>/dev/null || (while true; do nc -l -p 8080 < /proc/uptime; done) &
ip addr add {net}.200/24 dev eth0
ping -c 1 -W 1 -I {net}.200 {net}.1 >/dev/null && echo "spoof: passed" || echo "spoof: held"
(while sleep 1; do ping -c 1 -W 1 {peer} >/dev/null && echo "peer: reached" > /dev/console; done) &
"""


def inside(own: OwnLibvirtd, *argv: str) -> str:
    """What a command prints in the host's network namespace; "" when it fails."""
    whole = ["ip", "netns", "exec", own.netns, *argv]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout if done.returncode == 0 else ""


def pings(own: OwnLibvirtd, address: str) -> bool:
    return bool(inside(own, "ping", "-c", "1", "-W", "2", address))


def answers(own: OwnLibvirtd, address: str) -> bool:
    """Whether somebody takes a TCP connection to port 8080."""
    probe = f"import socket; socket.create_connection(('{address}', 8080), 2); print('yes')"
    return inside(own, "python3", "-c", probe) == "yes\n"


def secured(plan: BuildPlan, group: str, rules: tuple[Rule, ...], revision: int = 1) -> BuildPlan:
    """The plan with its NIC in a network of its own kind, and its port in one group."""
    (nic,) = plan.nics
    nic = replace(nic, nat=False, secured=True, host_address=f"{NET}.1")
    port = GuardedPort(
        nic.port_id, plan.server_id, nic.mac, nic.address, nic.bridge, groups=(group,)
    )
    part = Networking(revision, (port,), {group: rules}, (segment(nic),))
    return replace(plan, nics=(nic,), networking=part)


def segment(nic: Nic, **changes: Any) -> Segment:
    return Segment(nic.bridge, nic.cidr, **changes)


def script(peer: str) -> str:
    return base64.b64encode(SCRIPT.format(net=NET, peer=peer).encode()).decode()


@pytest.fixture
def pair(booting: Hypervisor) -> Iterator[tuple[Any, BuildPlan, BuildPlan]]:
    """Two running guests of one network; the first listens and lets pings in."""
    driver = booting.driver()
    first, second = tiny_plan(booting), tiny_plan(booting)
    one = secured(first, "web", (ICMP, OUT))
    two = secured(second, "db", (OUT,))
    one = replace(one, user_data=script(two.nics[0].address))
    two = replace(two, user_data=script(one.nics[0].address))
    for plan in (one, two):
        running(driver, plan)
    for plan in (one, two):
        wait_for_ready(driver, plan.server_id)
    return driver, one, two


def whole(revision: int, plans: tuple[BuildPlan, ...], **rules: tuple[Rule, ...]) -> Networking:
    parts = [plan.networking for plan in plans if plan.networking]
    return Networking(
        revision,
        tuple(port for part in parts for port in part.ports),
        rules,
        parts[0].segments,
    )


def test_groups_decide_what_reaches_a_guest_and_changes_reach_it_while_it_runs(
    pair: tuple[Any, BuildPlan, BuildPlan], own_libvirtd: OwnLibvirtd, booting: Hypervisor
) -> None:
    driver, one, two = pair
    first, second = one.nics[0].address, two.nics[0].address
    assert eventually(lambda: pings(own_libvirtd, first), 30)
    assert not pings(own_libvirtd, second)
    assert not answers(own_libvirtd, first)
    assert "spoof: held" in driver.console_log(one.server_id, None)
    assert "peer: reached" not in driver.console_log(one.server_id, None)
    assert "peer: reached" in eventually(
        lambda: (log := driver.console_log(two.server_id, None)) and "peer: reached" in log and log,
        60,
    )

    driver.secure(whole(2, (one, two), web=(WEB, OUT), db=(ICMP, OUT)))
    assert eventually(lambda: answers(own_libvirtd, first), 30)
    assert not pings(own_libvirtd, first)
    assert eventually(lambda: pings(own_libvirtd, second), 30)

    late = whole(1, (one, two), web=(ICMP, OUT), db=(OUT,))
    driver.secure(late)  # of before: it changes nothing
    assert eventually(lambda: answers(own_libvirtd, first), 30)
    assert not pings(own_libvirtd, first)

    # Members of a group, by the group: the first may reach the second, the host may not.
    driver.secure(
        whole(3, (one, two), web=(OUT,), db=(Rule("ingress", "icmp", remote_group="web"), OUT))
    )
    assert not answers(own_libvirtd, first)
    assert not pings(own_libvirtd, second)
    seen = driver.console_log(one.server_id, None).count("peer: reached")
    eventually(
        lambda: driver.console_log(one.server_id, None).count("peer: reached") > seen + 1, 60
    )

    floated(driver, own_libvirtd, one, two)
    for plan in (one, two):
        driver.destroy(plan.server_id, plan.fence)
    assert nothing_left(driver, own_libvirtd, booting.cloud_id, one)


def floated(driver: Any, own: OwnLibvirtd, one: BuildPlan, two: BuildPlan) -> None:
    """A floating address stands for the first guest, as far as its groups allow."""
    state = whole(4, (one, two), web=(WEB, OUT), db=(OUT,))
    address = Floating(FLOATING, one.nics[0].address, one.nics[0].bridge)
    driver.secure(replace(state, floating=(address,)))
    assert eventually(lambda: answers(own, FLOATING), 30)
    assert not pings(own, FLOATING)
    assert FLOATING in inside(own, "ip", "-4", "address")
    driver.secure(replace(state, revision=5))
    assert not answers(own, FLOATING)
    assert FLOATING not in inside(own, "ip", "-4", "address")


def nothing_left(driver: Any, own: OwnLibvirtd, cloud_id: str, plan: BuildPlan) -> bool:
    """No chain, no jump and no filter of the cloud's."""
    saved = inside(own, "iptables-save")
    assert firewall_rules.prefix(cloud_id) not in saved
    filters = driver.host.firewall._filters  # no other way to libvirt's list
    found = filters._connection.run("list", lambda link: link.listAllNWFilters(0))
    port = plan.nics[0].port_id
    return filter_name(cloud_id, port) not in {one.name() for one in found}
