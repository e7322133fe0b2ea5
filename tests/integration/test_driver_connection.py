"""Reaching libvirtd: in time or not at all; and child processes that do not outlive us."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.errors import Cancelled, HostFault
from app.virt.libvirt import child
from tests.cloud import Cloud, allowed, eventually
from tests.integration.virt_fixtures import OwnLibvirtd

pytest_plugins = ["tests.integration.virt_fixtures"]

connection = pytest.importorskip("app.virt.libvirt.connection")


@pytest.fixture
def deaf_socket() -> Iterator[Path]:
    """A libvirtd that accepts connections and never says a word."""
    with tempfile.TemporaryDirectory(prefix="nv-") as folder:
        path = Path(folder) / "libvirt-sock"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen(10)
            yield path


def test_opening_a_hung_libvirtd_ends_in_time_for_every_thread(deaf_socket: Path):
    made = connection.Connection(f"qemu+unix:///system?socket={deaf_socket}")
    faults: list[str] = []

    def get() -> None:
        with pytest.raises(HostFault) as caught:
            made.get(1.0)
        faults.append(caught.value.code)

    began = time.monotonic()
    threads = [threading.Thread(target=get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert time.monotonic() - began < allowed(3)
    assert faults == ["hypervisor_away"] * 8
    assert sum(thread.name == "libvirt-open" for thread in threading.enumerate()) == 1
    assert not made.answers(0.5)


def test_a_refused_connection_is_a_fault_that_names_it():
    made = connection.Connection("qemu+unix:///system?socket=/nowhere/libvirt-sock")
    with pytest.raises(HostFault) as caught:
        made.get()
    assert caught.value.code == "hypervisor_away"
    assert "/nowhere" in caught.value.message


def test_a_call_that_libvirt_refuses_names_step_and_server_and_is_not_repeated():
    made = connection.Connection("test:///default")
    calls: list[int] = []

    def refuse(link: object) -> None:
        calls.append(1)
        link.lookupByName("nobody")  # type: ignore[attr-defined]

    with pytest.raises(HostFault) as caught:
        made.run("find", refuse, "server-1")
    made.close()
    assert caught.value.code == "hypervisor_refused"
    assert caught.value.message.startswith("find of server server-1: ")
    assert len(calls) == 1


def test_a_retry_ends_when_it_is_cancelled():
    made = connection.Connection("qemu+unix:///system?socket=/nowhere/libvirt-sock")
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        made.run("find", lambda link: None, "server-1", cancel)
    assert time.monotonic() - began < allowed(2)


def test_a_child_process_ends_with_its_worker_however_that_ends():
    program = (
        "import threading\n"
        "from app.virt.libvirt.child import run\n"
        "threading.Thread(target=run, args=(['sleep', '987'], 100)).start()\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", program])
    pid = eventually(lambda: children(worker.pid, "sleep"), 20)[0]
    worker.send_signal(signal.SIGKILL)
    worker.wait(10)
    eventually(lambda: not alive(pid), 5)


def test_a_killed_workers_conversion_ends_with_it_and_leaves_no_file_of_that_name(tmp_path: Path):
    raw, image, part = (tmp_path / name for name in ("raw", "disk-7.qcow2", ".disk-7.qcow2.part"))
    raw.write_bytes(os.urandom(8 << 20))
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from app.virt.libvirt.child import run\n"
        "from app.virt.libvirt.storage import settle\n"
        "raw, part, image = sys.argv[1:]\n"
        "run(['qemu-img', 'convert', '-r', '1M', '-O', 'qcow2', raw, part], 100)\n"
        "settle(Path(part), Path(image))\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", program, str(raw), str(part), str(image)])
    pid = eventually(lambda: children(worker.pid, "qemu-img"), 20)[0]
    eventually(lambda: part.exists() and part.stat().st_size > 1 << 20, 20, "it writes")
    worker.send_signal(signal.SIGKILL)
    worker.wait(10)
    eventually(lambda: not alive(pid), 1, "the child ends with its worker")
    assert not image.exists()


def test_a_call_that_a_live_libvirtd_cannot_finish_ends_in_time() -> None:
    made = connection.Connection("test:///default")
    never = threading.Event()
    began = time.monotonic()
    with pytest.raises(HostFault) as caught:
        made.run("shut down", lambda link: never.wait(30), "server-1", seconds=0.5)
    assert time.monotonic() - began < allowed(3)
    assert caught.value.code == "too_slow"
    assert "shut down of server server-1" in caught.value.message
    assert made.run("find", lambda link: link.getType()) == "TEST", "others go on"
    never.set()
    made.close()


def test_a_stopped_libvirtd_shows_in_the_beat_until_it_goes_on(
    own_libvirtd: OwnLibvirtd,
    cloud: Cloud,
):
    uri = f"test+unix:///default?socket={own_libvirtd.daemon.socket}"
    cloud.start_host("n1", driver="app.virt.libvirt.driver:LibvirtDriver", libvirt_uri=uri)
    redis, pid = cloud.redis(), own_libvirtd.process().pid

    def beat() -> dict[str, Any]:
        return json.loads(str(redis.get("hb:n1") or '{"driver_ok": null}'))  # type: ignore[no-any-return]

    eventually(lambda: beat()["driver_ok"] is True, 30, "the host's beat")
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: beat()["driver_ok"] is False, 25, "the beat says so")
        seq = beat()["seq"]
        eventually(lambda: beat()["seq"] > seq + 2, 10, "the host goes on beating")
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: beat()["driver_ok"] is True, 25, "it answers again")


class Cutting:
    """Stands between a client and libvirtd, and hangs up after some messages of the client."""

    def __init__(self, path: Path, libvirtd: Path, messages: int) -> None:
        self.uri = f"qemu+unix:///system?socket={path}"
        self._libvirtd, self._messages = libvirtd, messages
        self._listener = socket.create_server(str(path), family=socket.AF_UNIX)
        self._listener.settimeout(30)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with self._listener:
            client, _ = self._listener.accept()
        with client, socket.socket(socket.AF_UNIX) as daemon:
            daemon.connect(str(self._libvirtd))
            threading.Thread(target=self._answer, args=(daemon, client), daemon=True).start()
            for _ in range(self._messages):
                size = client.recv(4, socket.MSG_WAITALL)  # big-endian, itself included
                if not size:
                    return  # the client has closed it
                body = client.recv(int.from_bytes(size) - 4, socket.MSG_WAITALL)
                daemon.sendall(size + body)
            client.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _answer(daemon: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := daemon.recv(65536):
                client.sendall(data)


def test_wherever_a_connection_is_lost_while_it_opens_libvirtd_is_away(
    own_libvirtd: OwnLibvirtd,
):
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="nv-") as folder:
        for messages in range(50):
            between = Cutting(Path(folder) / f"{messages}", own_libvirtd.daemon.socket, messages)
            made = connection.Connection(between.uri)
            made.on_open(lambda link: link.listAllDomains(0))
            try:
                made.get()
                break
            except HostFault as fault:
                faults.append(fault.code)
            finally:
                made.close()
        else:
            pytest.fail("it opens never")
    assert len(faults) > 5
    assert set(faults) == {"hypervisor_away"}


def children(parent: int, name: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent and (entry / "comm").read_text().strip() == name:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_process_is_ended_when_cancelled_or_late():
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        child.run(["sleep", "60"], 60, cancel)
    with pytest.raises(HostFault) as caught:
        child.run(["sleep", "60"], 0.2)
    assert caught.value.code == "too_slow"
    assert time.monotonic() - began < allowed(2)
    assert not children(os.getpid(), "sleep")


def test_a_child_process_that_fails_says_why():
    with pytest.raises(HostFault) as caught:
        child.run(["sh", "-c", "echo no luck >&2; exit 3"], 10)
    assert caught.value.code == "command_failed"
    assert "no luck" in caught.value.message
    assert child.run(["echo", "hello"], 10) == "hello\n"
