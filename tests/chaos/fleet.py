"""The hypervisors of a run: many fake ones, or two real libvirtds in namespaces.

Both say what is on the hosts by the hosts' own word, never by the cloud's tables.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import xml.etree.ElementTree as ET
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol

from app.config import Settings
from app.domain.guest import RUNNING
from tests.chaos.plan import HOSTS_PER_WORKER
from tests.cloud import Cloud


@dataclass(frozen=True)
class Seen:
    """A guest as its host has it; `running` is neither paused nor off."""

    server_id: str
    fence: int
    running: bool


@dataclass(frozen=True)
class HostWorker:
    """One host worker: its program's name, its hosts, how it is started, its own settings."""

    name: str
    hosts: tuple[str, ...]
    argv: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)


class Fleet(Protocol):
    """What a run needs of its hypervisors."""

    workers: list[HostWorker]

    def guests(self, host: str) -> list[Seen] | None:
        """The cloud's guests on a host; None when the host cannot be asked now."""

    def listing(self, host: str) -> list[str]:
        """All that the cloud has on a host, a line each, to compare before and after."""

    def cut(self, worker: int, off: bool) -> None:
        """Cut a worker's machine off the network, or end that."""

    def kill_libvirtd(self, worker: int, pause: float) -> None:
        """Kill a machine's libvirtd and start it again after `pause` seconds."""

    def close(self) -> None:
        """Remove all of it."""


def worker_argv(queues: list[str], mutated: bool) -> tuple[str, ...]:
    """The plain command of a worker."""
    app = "tests.chaos.mutant" if mutated else "app"
    return (sys.executable, "-m", "celery", "-A", app, "worker", "-Q", ",".join(queues))


class FakeFleet:
    """Fake hypervisors, some a worker; their guests are in files that outlive the workers."""

    def __init__(self, cloud: Cloud, count: int, mutated: bool) -> None:
        self._folder = cloud.directory / "hosts"
        names = [f"h{number:02}" for number in range(1, count + 1)]
        groups = [names[n : n + HOSTS_PER_WORKER] for n in range(0, count, HOSTS_PER_WORKER)]
        self.workers = [
            HostWorker(
                f"hosts-{number}",
                tuple(group),
                worker_argv([f"host-{name}" for name in group], mutated),
            )
            for number, group in enumerate(groups)
        ]

    def _state(self, host: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self._folder / host / "fake.json").read_text()))
        except FileNotFoundError:
            return {"guests": {}, "disks": {}, "dhcp": {}}

    def guests(self, host: str) -> list[Seen] | None:
        """See Fleet."""
        return [
            Seen(one["server_id"], one["fence"], one["power_state"] == RUNNING)
            for one in self._state(host)["guests"].values()
        ]

    def listing(self, host: str) -> list[str]:
        """See Fleet."""
        state = self._state(host)
        return sorted(
            f"{kind} {name.rpartition('/')[2]}"
            for kind in ("guests", "disks", "dhcp")
            for name in state[kind]
        )

    def cut(self, worker: int, off: bool) -> None:
        """See Fleet: fake hosts share the machine's own network."""
        raise NotImplementedError

    def kill_libvirtd(self, worker: int, pause: float) -> None:
        """See Fleet: fake hosts have none."""
        raise NotImplementedError

    def close(self) -> None:
        """See Fleet: the files go with the run's directory."""


@dataclass
class _Machine:
    """A real hypervisor: its libvirtd's namespace and the link that it hangs on."""

    own: Any
    link: str
    connection: Any = None


class RealFleet:
    """Real libvirtds, each in a namespace of its own, on a bridge with the cloud's address."""

    def __init__(self, cloud: Cloud, address: str, count: int) -> None:
        from tests.e2e.fleet import ip  # needs libvirt-python

        self._cloud, self._stack = cloud, ExitStack()
        self._bridge = f"nc{os.getpid() % 100000}"
        self.workers: list[HostWorker] = []
        self._machines: dict[str, _Machine] = {}
        self._ip = ip
        ip("link", "add", self._bridge, "type", "bridge")
        self._stack.callback(ip, "link", "delete", self._bridge)
        try:
            ip("addr", "add", f"{address}/24", "dev", self._bridge)
            ip("link", "set", self._bridge, "up")
            for number in range(1, count + 1):
                self._add(f"n{number}", f"{address.rpartition('.')[0]}.{number + 1}")
        except BaseException:
            self.close()
            raise

    def _add(self, name: str, address: str) -> None:
        from tests.integration.virt_fixtures import OwnLibvirtd

        runtime = Path(mkdtemp(prefix=f"nv-{name}-"))
        self._stack.callback(shutil.rmtree, runtime, ignore_errors=True)
        folder = self._cloud.directory / f"libvirtd-{name}"
        folder.mkdir()
        own = OwnLibvirtd(folder, runtime, netns=f"{self._bridge}{name}")
        self._stack.callback(own.close)
        link, netns = f"{self._bridge}{name}", own.netns
        self._ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", netns)
        self._ip("link", "set", link, "master", self._bridge, "up")
        self._ip("-n", netns, "addr", "add", f"{address}/24", "dev", "eth0")
        self._ip("-n", netns, "link", "set", "eth0", "up")
        self._machines[name] = _Machine(own, link)
        argv = ("ip", "netns", "exec", netns, *worker_argv([f"host-{name}"], mutated=False))
        settings = {"libvirt_uri": own.uri, "host_address": address}
        self.workers.append(HostWorker(f"hosts-{name}", (name,), argv, settings))

    def _connection(self, machine: _Machine) -> Any:
        import libvirt

        if machine.connection is None:
            machine.connection = libvirt.open(machine.own.uri)
        return machine.connection

    def guests(self, host: str) -> list[Seen] | None:
        """See Fleet."""
        import libvirt

        machine = self._machines[host]
        try:
            domains = self._connection(machine).listAllDomains()
            return [seen for domain in domains if (seen := _seen(domain)) is not None]
        except libvirt.libvirtError:
            machine.connection = None
            return None

    def listing(self, host: str) -> list[str]:
        """See Fleet; the cloud's networks and the image cache may stay."""
        connection = self._connection(self._machines[host])
        found = [f"guest {domain.UUIDString()}" for domain in connection.listAllDomains()]
        for network in connection.listAllNetworks():
            entries = ET.fromstring(network.XMLDesc()).findall("ip/dhcp/host")
            found += [f"dhcp {one.get('mac')}" for one in entries if one.get("name") != "gateway"]
        folder = self._cloud.directory / "hosts" / host / "instances"
        found += [f"file {path}" for path in folder.rglob("*")] if folder.exists() else []
        links = self._ip("-n", self._machines[host].own.netns, "-o", "link").splitlines()
        return sorted(found + [f"tap {line}" for line in links if "vnet" in line])

    def cut(self, worker: int, off: bool) -> None:
        """See Fleet."""
        machine = self._machines[self.workers[worker].hosts[0]]
        self._ip("link", "set", machine.link, "down" if off else "up")

    def kill_libvirtd(self, worker: int, pause: float) -> None:
        """See Fleet."""
        self._machines[self.workers[worker].hosts[0]].own.restart(pause)

    def close(self) -> None:
        """See Fleet."""
        for machine in self._machines.values():
            if machine.connection is not None:
                machine.connection.close()
        self._stack.close()


def _seen(domain: Any) -> Seen | None:
    """What a domain is; None when it went away meanwhile or is nobody's."""
    import libvirt

    from app.virt.libvirt import mark

    try:
        text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, mark.NAMESPACE, 0)
        state = domain.state()[0]
    except libvirt.libvirtError as error:
        gone = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_NO_DOMAIN_METADATA)
        if error.get_error_code() in gone:
            return None
        raise
    read = mark.parse(text)
    if read is None:
        return None
    return Seen(read.server_id, read.fence, state == libvirt.VIR_DOMAIN_RUNNING)


def settings_of(real: bool) -> dict[str, str]:
    """The settings that the kind of hosts needs; all waits are the product's own."""
    defaults = Settings()
    waits = {"beat_seconds": str(defaults.beat_seconds)}
    if real:
        driver = "app.virt.libvirt.driver:LibvirtDriver"
        return waits | {"driver": driver, "virt_type": "qemu", "cpu_ratio": "16"}
    # Builds that last, so that some are struck in their middle.
    return waits | {"fake_delay": "1.5", "cpu_ratio": "0.5"}
