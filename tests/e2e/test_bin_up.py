"""bin/up and bin/down as an operator runs them: libvirt, a guest, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cloud import allowed, eventually
from tests.local_cloud import CHECKOUT, Done, Local

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(os.geteuid() != 0, reason="libvirtd needs root"),
    pytest.mark.skipif(shutil.which("libvirtd") is None, reason="no libvirtd, run bin/setup"),
    pytest.mark.timeout(1200),
]
UP_SECONDS = 900


def footprint() -> dict[str, object]:
    """What of the machine a cloud could leave changed."""
    tables = [
        line
        for program in ("iptables-save", "ip6tables-save")
        for line in output(program).splitlines()
        if not line.startswith(("#", ":"))
    ]
    links = sorted(line.split()[0] for line in output("ip", "-br", "link").splitlines())
    return {
        "links": [name for name in links if "@" not in name],
        "routes": output("ip", "route", "show", "table", "all"),
        "firewall": tables,
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        "mounts": sorted(line for line in output("mount").splitlines() if "netns" not in line),
        "run": sorted(path.name for path in Path("/run").glob("novella-*")),
    }


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=30).stdout


def bin_up(cloud: Local, *args: str, **environ: str) -> Done:
    return cloud.run(str(CHECKOUT / "bin/up"), *args, timeout=UP_SECONDS, **environ)


def bin_down(cloud: Local) -> Done:
    return cloud.run(str(CHECKOUT / "bin/down"))


def guests(cloud: Local) -> list[psutil.Process]:
    """QEMU processes whose disks are in this cloud's state directory."""
    state = str(cloud.state)
    found = []
    for process in psutil.process_iter():
        try:
            if "qemu" in process.name() and any(state in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def address_of(up: Done) -> str:
    return next(line for line in up.stdout.splitlines() if "answers ping at" in line).split()[-1]


def pings(address: str) -> bool:
    return subprocess.run(["ping", "-c1", "-W2", address], capture_output=True).returncode == 0


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Local]:
    made = Local(tmp_path, driver="", host="e2e")
    yield made
    bin_down(made)
    assert made.ours() == []
    assert guests(made) == []


def test_from_nothing_to_a_guest_and_back(cloud):
    before = footprint()
    first = bin_up(cloud)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "NOVELLA-GUEST hostname=first" in first.stdout
    assert "NOVELLA-GUEST ready" in first.stdout
    assert "succeeded: resume" in first.stdout
    address = address_of(first)
    assert pings(address)
    assert len(guests(cloud)) == 1
    status = bin_up(cloud, "--status")
    assert status.returncode == 0, status.stdout
    assert "libvirtd" in status.stdout

    processes = {process.pid for process in [*cloud.ours(), *guests(cloud)]}
    began = time.monotonic()
    again = bin_up(cloud)
    assert again.returncode == 0, again.stderr
    assert "already up, nothing changed" in again.stdout
    assert time.monotonic() - began < allowed(15)
    assert {process.pid for process in [*cloud.ours(), *guests(cloud)]} == processes

    down = bin_down(cloud)
    assert down.returncode == 0, down.stderr
    assert cloud.ours() == []
    assert guests(cloud) == []
    assert footprint() == before
    assert bin_down(cloud).stdout == "already down\n"
    assert footprint() == before

    third = bin_up(cloud)
    assert third.returncode == 0, third.stdout + third.stderr
    assert address_of(third) == address
    assert len(guests(cloud)) == 1
    assert bin_down(cloud).returncode == 0
    assert footprint() == before


def test_a_guest_outlives_every_process_of_ours(cloud):
    before = footprint()
    first = bin_up(cloud)
    assert first.returncode == 0, first.stdout + first.stderr
    (guest,) = guests(cloud)
    cloud.supervisord().kill()
    eventually(lambda: cloud.ours() == [guest] or cloud.ours() == [], 40, "our processes end")
    assert pings(address_of(first))

    again = bin_up(cloud)
    assert again.returncode == 0, again.stdout + again.stderr
    assert [process.pid for process in guests(cloud)] == [guest.pid]

    cloud.supervisord().kill()
    eventually(lambda: len(cloud.ours()) <= 1, 40, "our processes end")
    down = bin_down(cloud)
    assert down.returncode == 0, down.stderr
    assert "stopped after" in down.stdout
    assert guests(cloud) == []
    assert footprint() == before


@pytest.mark.full
def test_two_clouds_of_one_machine_do_not_meet(cloud, tmp_path):
    before = footprint()
    (tmp_path / "other").mkdir()
    other = Local(tmp_path / "other", driver="", host="e2e")
    first = bin_up(cloud)
    assert first.returncode == 0, first.stdout + first.stderr
    try:
        second = bin_up(other)
        assert second.returncode == 0, second.stdout + second.stderr
        assert address_of(first) != address_of(second)
        assert (len(guests(cloud)), len(guests(other))) == (1, 1)
    finally:
        assert bin_down(other).returncode == 0
    assert len(guests(cloud)) == 1
    assert pings(address_of(first))
    assert bin_up(cloud, "--status").returncode == 0
    assert bin_down(cloud).returncode == 0
    assert footprint() == before
