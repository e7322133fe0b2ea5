"""The set-up of our own libvirtd, and what is remembered about a host."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.errors import HostFault, Invalid
from app.virt.libvirt import daemon
from app.virt.libvirt.console import LIMIT, read_log

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@needs_root
def test_preparing_twice_keeps_the_host_uuid_and_makes_a_short_socket(tmp_path: Path):
    first = daemon.prepare(tmp_path / "a state", tmp_path / "r")
    again = daemon.prepare(tmp_path / "a state", tmp_path / "r")
    assert first == again
    assert first.host_uuid in (tmp_path / "a state/etc/libvirtd.conf").read_text()
    assert 'user = "root"' in (tmp_path / "a state/etc/qemu.conf").read_text()
    assert first.uri == f"qemu+unix:///system?socket={tmp_path}/r/libvirt/libvirt-sock"


@needs_root
def test_status_of_another_boot_is_forgotten(tmp_path: Path):
    made = daemon.prepare(tmp_path / "state", tmp_path / "r")
    status = made.run / "network" / "old.xml"
    status.parent.mkdir()
    status.write_text("<networkstatus/>")
    daemon.prepare(tmp_path / "state", tmp_path / "r")
    assert status.exists()
    (made.run / "boot_id").write_text("another")
    daemon.prepare(tmp_path / "state", tmp_path / "r")
    assert not status.exists()


@needs_root
@pytest.mark.parametrize(
    ("state", "runtime"),
    [("s", "x" * 100), ("/var/lib/libvirt/novella", "r"), ("s", "/run/libvirt/novella")],
)
def test_places_that_cannot_work_are_refused_before_anything_is_made(
    tmp_path: Path, state: str, runtime: str
):
    with pytest.raises(HostFault) as caught:
        daemon.prepare(tmp_path / state, tmp_path / runtime)
    assert caught.value.code == "libvirtd_setup"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("program", "status"), [("exit 7", 7), ("kill -9 $$", 137), ("(exit 3 &) ; exit 0", 0)]
)
def test_the_reaper_ends_as_its_program_does(program: str, status: int):
    reaper = Path(daemon.__file__).with_name("reaper.py")
    argv = [sys.executable, "-I", str(reaper), "sh", "-c", program]
    assert subprocess.run(argv, timeout=20, check=False).returncode == status


def test_a_reaper_waits_for_the_end_of_the_program_that_holds_the_pid_file(tmp_path: Path):
    reaper = Path(daemon.__file__).with_name("reaper.py")
    pid_file = tmp_path / "libvirtd.pid"
    hold = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", hold, str(pid_file)], **pipes) as dying:
        assert dying.stdout.readline() == b"held\n"
        program = ["sh", "-c", "echo started", "program", "-p", str(pid_file)]
        argv = [sys.executable, "-I", str(reaper), *program]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as next_one:
            assert not select.select([next_one.stdout], [], [], 0.5)[0]
            dying.stdin.close()
            assert next_one.stdout.read() == b"started\n"
            assert next_one.wait(10) == 0


def test_a_reaper_forgets_only_the_guests_whose_qemu_was_never_noted(tmp_path: Path):
    states = tmp_path / "qemu"
    states.mkdir()
    for name, text in {
        "unborn": "<domstatus state='paused' reason='starting up' pid='0'><domain/></domstatus>",
        "runs": "<domstatus state='running' reason='booted' pid='10'><domain/></domstatus>",
        "other": "<network pid='0'/>",
        "cut short": "<domstatus state='paused' rea",
    }.items():
        (states / f"{name}.xml").write_text(text)
    reaper = Path(daemon.__file__).with_name("reaper.py")
    program = ["sh", "-c", "exit 0", "program", "-p", str(tmp_path / "libvirtd.pid")]
    argv = [sys.executable, "-I", str(reaper), *program]
    ended = subprocess.run(argv, timeout=20, check=True, stderr=subprocess.PIPE, text=True)
    assert sorted(path.stem for path in states.iterdir()) == ["cut short", "other", "runs"]
    assert "forgot the start of unborn" in ended.stderr
    assert "cannot look through" in ended.stderr
    assert "cut short.xml" in ended.stderr


def test_only_the_orphans_of_that_guest_are_ended():
    orphans = pytest.importorskip("app.virt.libvirt.orphans")
    sleep = [sys.executable, "-c", "import time; time.sleep(60)", "-name"]
    ours = subprocess.Popen([*sleep, "guest=novella-12345678-a,debug-threads=on"])
    other = subprocess.Popen([*sleep, "guest=novella-12345678-ab,debug-threads=on"])
    try:
        deadline = time.monotonic() + 10
        while b"guest=" not in Path(f"/proc/{ours.pid}/cmdline").read_bytes():
            assert time.monotonic() < deadline
        orphans.end_orphans("novella-12345678-a")
        assert ours.wait(10) == -9
        assert other.poll() is None
    finally:
        other.kill()
        other.wait(10)


def test_a_console_that_was_rolled_over_is_read_as_one(tmp_path: Path):
    log = tmp_path / "console.log"
    assert read_log(log, None) == ""
    log.write_text("three\nfour\n")
    log.with_name("console.log.0").write_text("one\ntwo\n")
    assert read_log(log, None) == "one\ntwo\nthree\nfour\n"
    assert read_log(log, 3) == "two\nthree\nfour\n"
    assert read_log(log, 0) == ""
    log.write_bytes(b"x" * (2 * LIMIT) + b"\xff\n")
    assert len(read_log(log, None)) <= LIMIT


def test_a_remembered_virt_type_is_of_this_boot_only(tmp_path: Path):
    probe = pytest.importorskip("app.virt.libvirt.probe")
    memory = tmp_path / "virt_type.json"
    assert probe._remembered(memory) is None
    memory.write_text(json.dumps({"boot_id": probe.boot_id(), "virt_type": "kvm"}))
    assert probe._remembered(memory) == "kvm"
    memory.write_text(json.dumps({"boot_id": "another", "virt_type": "kvm"}))
    assert probe._remembered(memory) is None
    assert len(probe.BOOT_SECTOR) == 512
    with pytest.raises(Invalid):
        probe.choose(None, "xen", "cloud", tmp_path)
