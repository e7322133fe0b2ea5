"""Three real hypervisors on one machine: bin/up's own, and two that joined from namespaces."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tomllib
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import libvirt
import psutil

from tests.http_client import Client
from tests.integration.virt_fixtures import OwnLibvirtd
from tests.local_cloud import Done, Local

# Room for all servers on one host while the others are away.
SETTINGS = {"NOVELLA_VIRT_TYPE": "qemu", "NOVELLA_CPU_RATIO": "16"}


def ip(*args: str) -> str:
    """The `ip` command's output."""
    done = subprocess.run(["ip", *args], check=True, capture_output=True, text=True, timeout=10)
    return done.stdout


@dataclass
class Member:
    """A machine that joined: its libvirtd, its state directory, and the link it hangs on."""

    name: str
    own: OwnLibvirtd
    state: Path
    link: str

    @property
    def uri(self) -> str:
        return self.own.uri

    def host(self, command: str, *args: str, timeout: float = 240) -> Done:
        """`novella host COMMAND` on this machine."""
        argv = ["ip", "netns", "exec", self.own.netns, sys.executable, "-m", "app.cli", "host"]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("NOVELLA_", "OS_"))}
        return subprocess.run(
            [*argv, command, "--state-dir", str(self.state), *args],
            env={**clean, **SETTINGS},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def kill_worker(self) -> None:
        """Kill everything that Novella runs on this machine; its guests run on."""
        config = str(self.state / "novella.toml")
        for process in _with_config(config):
            process.send_signal(signal.SIGKILL)


def _with_config(config: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            # The supervisor first: it would start the others again.
            if process.environ().get("NOVELLA_CONFIG") == config:
                found.append(process)
        except psutil.Error:
            continue
    return sorted(found, key=lambda one: "supervisor.supervisord" not in one.cmdline())


def _guests(folder: Path) -> Iterator[int]:
    """The pids of QEMU's processes with disks there."""
    for process in psutil.process_iter():
        try:
            if "qemu" in process.name() and any(str(folder) in one for one in process.cmdline()):
                yield process.pid
        except psutil.Error:
            continue


def _stays(network: Any) -> bool:
    """Whether hosts lead a network out by themselves: such as the cloud's own, made to stay."""
    return ET.fromstring(network.XMLDesc()).find("forward[@mode='nat']") is not None


@dataclass
class Fleet:
    """The cloud, its members and its users."""

    cloud: Local
    address: str
    members: list[Member] = field(default_factory=list)

    @property
    def root(self) -> str:
        return f"http://{self.address}:{self.cloud.port}"

    @property
    def uris(self) -> dict[str, str]:
        """Each host's libvirtd."""
        config = tomllib.loads((self.cloud.state / "novella.toml").read_text())
        return {self.cloud.host: config["libvirt_uri"]} | {m.name: m.uri for m in self.members}

    def client(self, user: str) -> Client:
        """A user of the cloud."""
        password = (self.cloud.state / "secrets" / f"{user}-password").read_text().strip()
        return Client(self.root, user, password)

    def listing(self) -> dict[str, dict[str, Any]]:
        """Everything of every host, to compare before and after.

        Domains, DHCP entries, disks, links with their addresses, and QEMU's processes. The
        cloud's own network is left out: the first server on a host makes it there, and it stays.
        """
        return {name: self._of_host(name, uri) for name, uri in self.uris.items()}

    def _of_host(self, name: str, uri: str) -> dict[str, Any]:
        member = {m.name: m for m in self.members}.get(name)
        state = member.state if member else self.cloud.state
        netns = ("-n", member.own.netns) if member else ()
        connection = libvirt.open(uri)
        try:
            networks = connection.listAllNetworks()
            bridges = [network.bridgeName() for network in networks if _stays(network)]
            domains = [domain.UUIDString() for domain in connection.listAllDomains()]
            dhcp = [
                str(entry.get("mac"))
                for network in networks
                for entry in ET.fromstring(network.XMLDesc()).findall("ip/dhcp/host")
                if entry.get("name") != "gateway"
            ]
        finally:
            connection.close()
        folder = state / "hosts" / name / "instances"
        links = [line for what in ("link", "addr") for line in ip(*netns, "-br", what).splitlines()]
        return {
            "domains": sorted(domains),
            "dhcp": sorted(dhcp),
            "files": sorted(str(path) for path in folder.rglob("*")),
            "links": sorted(line for line in links if line.split()[0] not in bridges),
            "guests": sorted(_guests(folder)),
        }

    def running(self) -> list[str]:
        """The ids of all servers that run, by the libvirtds' own word; one twice if doubled."""
        found = []
        for uri in self.uris.values():
            connection = libvirt.open(uri)
            try:
                active = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
                found += [domain.UUIDString() for domain in active]
            finally:
                connection.close()
        return sorted(found)


@contextmanager
def fleet(directory: Path) -> Iterator[Fleet]:
    """A cloud by `novella up` on a bridge's address, and two machines that hang on the bridge."""
    mark = f"nf{os.getpid() % 100000}"
    address = f"10.{200 + os.getpid() % 50}.{uuid.uuid4().int % 250}.1"
    with ExitStack() as stack:
        ip("link", "add", mark, "type", "bridge")
        stack.callback(ip, "link", "delete", mark)
        ip("addr", "add", f"{address}/24", "dev", mark)
        ip("link", "set", mark, "up")
        cloud = Local(directory, driver="", host="n1")
        stack.callback(cloud.down)
        up = cloud.up(NOVELLA_BIND=address, **SETTINGS)
        assert up.returncode == 0, up.stdout + up.stderr
        made = Fleet(cloud, address)
        for number, name in ((2, "n2"), (3, "n3")):
            member = _member(stack, directory, name, mark, address.rpartition(".")[0], number)
            made.members.append(member)
        yield made


def _member(
    stack: ExitStack, directory: Path, name: str, bridge: str, prefix: str, number: int
) -> Member:
    runtime = Path(mkdtemp(prefix=f"nv-{name}-"))
    stack.callback(shutil.rmtree, runtime, ignore_errors=True)
    (directory / name).mkdir()
    own = OwnLibvirtd(directory / name, runtime, netns=f"{bridge}{name}")
    stack.callback(own.close)
    link = f"{bridge}{name}"
    ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", own.netns)
    ip("link", "set", link, "master", bridge, "up")
    ip("-n", own.netns, "addr", "add", f"{prefix}.{number}/24", "dev", "eth0")
    ip("-n", own.netns, "link", "set", "eth0", "up")
    member = Member(name, own, directory / f"state of {name}", link)
    stack.callback(member.host, "stop")
    return member
