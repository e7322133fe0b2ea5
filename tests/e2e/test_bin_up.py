"""bin/up and bin/down as an operator runs them: libvirt, a guest, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.cli.local.place import find_place
from tests.cloud import allowed, eventually, free_port
from tests.local_cloud import CHECKOUT, Done, Local, within

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(os.geteuid() != 0, reason="libvirtd needs root"),
    pytest.mark.skipif(shutil.which("libvirtd") is None, reason="no libvirtd, run bin/setup"),
    pytest.mark.timeout(1200),
]
UP_SECONDS = 900


def footprint(cloud: Local) -> dict[str, object]:
    """What of its network, and of the machine, a cloud could leave changed."""
    rules = [
        line
        for program in ("iptables-save", "ip6tables-save")
        for line in output(cloud, program).splitlines()
        if line.startswith("-")
    ]
    return {
        "links": sorted(
            line.split()[0] for line in output(cloud, "ip", "-br", "link").splitlines()
        ),
        "routes": output(cloud, "ip", "route", "show", "table", "all"),
        "firewall": rules,
        "forwarding": output(cloud, "cat", "/proc/sys/net/ipv4/ip_forward"),
        "mounts": sorted(
            line for line in output(cloud, "mount").splitlines() if "netns" not in line
        ),
        "run": find_place({"NOVELLA_STATE_DIR": str(cloud.state)}).runtime.exists(),
    }


def output(cloud: Local, *argv: str) -> str:
    return subprocess.run(
        [*within(cloud.netns), *argv], capture_output=True, text=True, timeout=30
    ).stdout


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


def pings(cloud: Local, address: str) -> bool:
    """Whether it answers soon: one that is emulated beside others may take more than an echo."""
    return bool(eventually(lambda: _pings(cloud, address), 30, f"{address} answers ping"))


def _pings(cloud: Local, address: str) -> bool:
    return "1 received" in output(cloud, "ping", "-c1", "-W2", address)


@pytest.fixture
def cloud(tmp_path: Path, tiny_image: Path) -> Iterator[Local]:
    """In a network namespace, so that whatever changes there is the cloud's doing.

    No packages can be fetched in there: the image is what bin/tiny-image has made outside.
    """
    name = f"novup{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=10)
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True, timeout=10)
    made = Local(tmp_path, driver="", host="e2e", netns=name)
    made.state.mkdir(mode=0o700)
    for suffix in ("", ".inputs"):
        shutil.copy(f"{tiny_image}{suffix}", made.state / f"tiny.qcow2{suffix}")
    yield made
    bin_down(made)
    assert made.ours() == []
    assert guests(made) == []
    subprocess.run(["ip", "netns", "delete", name], check=True, timeout=10)


def test_from_nothing_to_a_guest_and_back(cloud: Local) -> None:
    before = footprint(cloud)
    address = first_start(cloud)
    a_second_bin_up_changes_nothing(cloud)
    down_leaves(cloud, before)
    assert bin_down(cloud).stdout == "already down\n"
    assert footprint(cloud) == before

    third = bin_up(cloud)
    assert third.returncode == 0, third.stdout + third.stderr
    assert address_of(third) == address
    guest_outlives_every_process_of_ours(cloud, address)
    assert "stopped after" in down_leaves(cloud, before).stdout


def first_start(cloud: Local) -> str:
    """A cloud from nothing; its guest's address."""
    first = bin_up(cloud)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "NOVELLA-GUEST hostname=first" in first.stdout
    assert "NOVELLA-GUEST ready" in first.stdout
    assert "succeeded: resume" in first.stdout
    assert pings(cloud, address_of(first))
    assert len(guests(cloud)) == 1
    status = bin_up(cloud, "--status")
    assert status.returncode == 0, status.stdout
    assert "libvirtd" in status.stdout
    return address_of(first)


def a_second_bin_up_changes_nothing(cloud: Local) -> None:
    processes = {process.pid for process in [*cloud.ours(), *guests(cloud)]}
    began = time.monotonic()
    again = bin_up(cloud)
    assert again.returncode == 0, again.stderr
    assert "already up, nothing changed" in again.stdout
    assert time.monotonic() - began < allowed(15)
    assert {process.pid for process in [*cloud.ours(), *guests(cloud)]} == processes


def down_leaves(cloud: Local, before: dict[str, object]) -> Done:
    """`bin/down` ends everything, and the machine is as it was before."""
    down = bin_down(cloud)
    assert down.returncode == 0, down.stderr
    assert cloud.ours() == []
    assert guests(cloud) == []
    assert footprint(cloud) == before
    return down


def guest_outlives_every_process_of_ours(cloud: Local, address: str) -> None:
    """All of ours ends with its supervisor but the guest; bin/up finds it, and bin/down ends it."""
    (guest,) = guests(cloud)
    cloud.supervisord().kill()
    eventually(lambda: cloud.ours() == [guest] or cloud.ours() == [], 40, "our processes end")
    assert pings(cloud, address)

    again = bin_up(cloud)
    assert again.returncode == 0, again.stdout + again.stderr
    assert [process.pid for process in guests(cloud)] == [guest.pid]

    cloud.supervisord().kill()
    eventually(lambda: len(cloud.ours()) <= 1, 40, "our processes end")


@pytest.mark.full
def test_two_clouds_of_one_machine_do_not_meet(cloud: Local, tmp_path: Path) -> None:
    before = footprint(cloud)
    (tmp_path / "other").mkdir()
    other = replace(cloud, directory=tmp_path / "other", port=free_port(), flower_port=free_port())
    shutil.copytree(cloud.state, other.state)
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
    assert pings(cloud, address_of(first))
    assert bin_up(cloud, "--status").returncode == 0
    down_leaves(cloud, before)
