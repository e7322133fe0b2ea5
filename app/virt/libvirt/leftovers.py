"""What our own libvirtd leaves running on purpose, and taking it all down.

Guests, dnsmasq and bridges outlive libvirtd, so that killing it harms nobody. `teardown` ends
them; definitions stay in the state directory, and the next start can run the guests again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt

from app.errors import HostFault
from app.virt.libvirt import footprint
from app.virt.libvirt.connection import Connection, translated
from app.virt.libvirt.daemon import Daemon, listening, wait_ready

READY_SECONDS = 20
END_SECONDS = 10
DYING_SECONDS = 1.0
"""How long the kernel may take to close a killed libvirtd's socket."""
_DAEMONS = ("libvirtd", "virtlogd", "python3", "python")
"""What the supervisor runs: the daemons and libvirtd's reaper."""


@dataclass(frozen=True)
class Leftovers:
    """Processes (pid to program) in our mount namespaces, and our bridges; daemons excluded."""

    processes: dict[int, str]
    bridges: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.processes or self.bridges)


def find(daemon: Daemon) -> Leftovers:
    """What runs on now, whether or not libvirtd does."""
    processes = {pid: name for pid, name in _processes(daemon.run).items() if name not in _DAEMONS}
    bridges = tuple(name for name in _bridges(daemon) if _link(daemon, "show", name) == 0)
    return Leftovers(processes, bridges)


def teardown(daemon: Daemon) -> list[str]:
    """End all guests (no graceful stop) and networks; return what was done, in words.

    Starts libvirtd for the purpose when it is down and something is left, because only it knows
    its firewall rules. What it could not end is killed. Ends the daemons that it started itself;
    a supervisor ends its own afterwards, and the mounts go with the last process.
    """
    did: list[str] = []
    if listening(daemon) or find(daemon):
        did += _through_libvirtd(daemon)
    left = find(daemon)
    for pid, name in left.processes.items():
        _end(pid)
        did.append(f"killed {name} ({pid})")
    for name in left.bridges:
        _link(daemon, "delete", name)
        did.append(f"removed bridge {name}")
    if not listening(daemon):
        did += footprint.restore(daemon.run / "before.json", daemon.netns)
    return did


def _through_libvirtd(daemon: Daemon) -> list[str]:
    """Have libvirtd end what it knows. One that was only about to die, and still listened, is
    found gone afterwards: then we start our own and ask once more.
    """
    for again in (True, False):
        try:
            with _running(daemon):
                return _ask(daemon)
        except HostFault as fault:
            if not (again and fault.code == "hypervisor_away" and _gone(daemon)):
                return [f"libvirtd did not help: {fault.message}"]
    raise AssertionError("the second attempt returns")


def _gone(daemon: Daemon) -> bool:
    """Whether nobody listens on libvirtd's socket within DYING_SECONDS from now."""
    deadline = time.monotonic() + DYING_SECONDS
    while listening(daemon):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def _running(daemon: Daemon) -> Iterator[None]:
    """libvirtd and virtlogd while the block runs: those that run already, or our own."""
    if listening(daemon):
        yield
        return
    started: list[subprocess.Popen[bytes]] = []
    try:
        for argv in (daemon.virtlogd, daemon.libvirtd):
            started.append(
                subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        wait_ready(daemon, READY_SECONDS)
        yield
    finally:
        for process in reversed(started):
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(END_SECONDS)


def _ask(daemon: Daemon) -> list[str]:
    """Have libvirtd destroy its guests and networks."""
    did: list[str] = []
    connection = Connection(daemon.uri)
    try:
        with translated("teardown"):
            link = connection.get()
            for domain in link.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
                _destroy(domain)
                did.append(f"ended guest {domain.name()}")
            for network in link.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE):
                _destroy(network)
                did.append(f"ended network {network.name()}")
    finally:
        connection.close()
    return did


def _destroy(thing: Any) -> None:
    """Destroy a domain or network; a libvirtd that has just started may end it by itself."""
    try:
        thing.destroy()
    except libvirt.libvirtError:
        if thing.isActive():
            raise


def _processes(run: Path) -> dict[int, str]:
    """Processes that see our run directory as /run/libvirt."""
    ours = run.stat()
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            seen = (entry / "root/run/libvirt").stat()
            if (seen.st_dev, seen.st_ino) == (ours.st_dev, ours.st_ino):
                found[int(entry.name)] = (entry / "comm").read_text().strip()
        except OSError:
            continue
    return found


def _bridges(daemon: Daemon) -> list[str]:
    """Bridges that the status files of running networks name."""
    names: list[str] = []
    for path in sorted(daemon.run.glob("network/*.xml")):
        try:
            bridge = ET.parse(path).find(".//bridge")
        except (ET.ParseError, OSError):
            continue
        if bridge is not None and (name := bridge.get("name")):
            names.append(name)
    return names


def _link(daemon: Daemon, verb: str, name: str) -> int:
    inside = ["ip", "netns", "exec", daemon.netns] if daemon.netns else []
    argv = [*inside, "ip", "link", verb, name]
    return subprocess.run(argv, capture_output=True, timeout=END_SECONDS, check=False).returncode


def _end(pid: int) -> None:
    """SIGTERM, then SIGKILL when it is still there after END_SECONDS."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + END_SECONDS
        try:
            os.kill(pid, number)
            while time.monotonic() < deadline and not _zombie(pid):
                os.kill(pid, 0)
                time.sleep(0.05)
        except ProcessLookupError:
            return


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
