"""The driver contract on libvirt: QEMU and KVM, or libvirt's own test driver."""

from __future__ import annotations

import logging
import shutil
import uuid
import xml.etree.ElementTree as ET
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Any

import libvirt

from app.config import Settings
from app.domain.guest import Diagnostics, Guest, HostFacts, Inventory
from app.domain.message import BuildPlan, ImageSource
from app.domain.networking import Networking
from app.errors import HostFault
from app.failpoints import Step
from app.images.host_cache import HostCache
from app.virt.driver import Listener, Report
from app.virt.libvirt import (
    agent,
    build,
    diagnostics,
    kinds,
    pausing,
    plugging,
    power,
    probe,
    rebuild,
    snapshot,
)
from app.virt.libvirt.abilities import abilities
from app.virt.libvirt.connection import Connection, Link
from app.virt.libvirt.console import read_log
from app.virt.libvirt.events import Events
from app.virt.libvirt.firewall import Firewall
from app.virt.libvirt.guest import Guests
from app.virt.libvirt.network import Networks
from app.virt.libvirt.storage import GIB, Storage

logger = logging.getLogger(__name__)

HEALTHY_SECONDS = 5.0
OPEN, LOOK, TIDY = Step("open"), Step("inventory.look"), Step("tidy")
_NAMESPACE = uuid.UUID("0b1b1d3c-4c0c-5d62-8f39-0a6a6a2f4f10")


class LibvirtDriver:
    """See `app.virt.driver`; the work is done in this package's other modules."""

    def __init__(self, host_name: str, cloud_id: str, settings: Settings) -> None:
        self.host_name = host_name
        self.cloud_id = cloud_id
        self._settings = settings
        self._folder = settings.path("hosts", host_name)
        self._connection = Connection(settings.libvirt_uri)
        self._events = Events(self._connection, cloud_id)

    @cached_property
    def host(self) -> build.Host:
        """The hypervisor's parts; the first use proves `virt_type`."""
        cache = self._settings.cache_dir or self._folder / "cache"
        disks = (self._folder / "instances").absolute()
        return build.Host(
            cloud_id=self.cloud_id,
            virt_type=self._virt_type(),
            guests=Guests(self._connection, self.cloud_id),
            networks=Networks(self._connection, self.cloud_id),
            storage=Storage(disks, self.cloud_id),
            cache=HostCache(
                Path(cache).absolute(),
                disks,
                int(self._settings.cache_free_gb * GIB),
                self._settings.tls_ca,
            ),
            firewall=Firewall(
                self._connection,
                self.cloud_id,
                self._folder.absolute(),
                enforces=self._connection.run("look", _runs_guests),
            ),
        )

    def open(self) -> None:
        """See the contract."""
        with OPEN:
            self._connection.get()
        self._reassert()
        logger.info("host %s uses virt_type %s", self.host_name, self.host.virt_type)

    def _reassert(self) -> None:
        """What a reboot took away is there before any guest is started."""
        try:
            self.host.firewall.reassert()
        except HostFault as error:
            logger.error("guests are not guarded yet: %s", error.message)

    def close(self) -> None:
        """See the contract."""
        self._events.close()
        self._connection.close()

    def healthy(self) -> bool:
        """See the contract."""
        return self._connection.answers(HEALTHY_SECONDS)

    def facts(self) -> HostFacts:
        """See the contract; disk is the size of the file system that holds the guests' disks."""
        return self._connection.run("facts", self._facts)

    def inventory(self) -> Inventory:
        """See the contract."""
        complete = True
        parts: list[tuple[Any, ...]] = []
        host = self.host
        for read in (host.guests.all, host.storage.servers, host.networks.leases):
            try:
                with LOOK:
                    parts.append(read())
            except (HostFault, OSError) as error:
                logger.warning("the inventory lacks a part: %s", error)
                complete = False
                parts.append(())
        guests, disks, leases = parts
        dhcp = tuple(sorted({server_id for server_id, _, _ in leases}))
        return Inventory(guests, disks, dhcp, complete, probe.boot_id(), leases)

    def listen(self, listener: Listener) -> None:
        """See the contract."""
        self._events.listen(listener)

    def find(self, server_id: str) -> Guest | None:
        """See the contract."""
        return self.host.guests.find(server_id)

    def spawn(self, plan: BuildPlan, cancel: Event, report: Report) -> Guest:
        """See the contract."""
        return build.spawn(self.host, plan, cancel, report)

    def commit(self, server_id: str, fence: int) -> Guest:
        """See the contract."""
        return power.commit(self.host, server_id, fence)

    def start(self, plan: BuildPlan, fence: int, own_disk: bool = False) -> Guest:
        """See the contract."""
        return power.start(self.host, plan, fence, own_disk)

    def stop(self, server_id: str, fence: int, timeout: float, cancel: Event) -> Guest:
        """See the contract."""
        return power.stop(self.host, server_id, fence, timeout, cancel)

    def reboot(self, plan: BuildPlan, fence: int, hard: bool, cancel: Event) -> Guest:
        """See the contract; the soft one's time limit is the setting `shutdown_seconds`."""
        timeout = 0.0 if hard else float(self._settings.shutdown_seconds)
        return power.reboot(self.host, plan, fence, timeout, cancel)

    def pause(self, plan: BuildPlan, fence: int, restart: bool) -> Guest:
        """See the contract."""
        return pausing.pause(self.host, plan, fence, restart)

    def unpause(self, server_id: str, fence: int) -> Guest:
        """See the contract."""
        return pausing.unpause(self.host, server_id, fence)

    def suspend(self, server_id: str, fence: int, cancel: Event) -> Guest:
        """See the contract."""
        return pausing.suspend(self.host, server_id, fence, cancel)

    def wake(self, plan: BuildPlan, fence: int) -> Guest:
        """See the contract."""
        return pausing.wake(self.host, plan, fence)

    def inject_nmi(self, server_id: str, fence: int) -> Guest:
        """See the contract."""
        return agent.inject_nmi(self.host, server_id, fence)

    def set_password(self, server_id: str, fence: int, user: str, password: str) -> Guest:
        """See the contract."""
        return agent.set_password(self.host, server_id, fence, user, password)

    def rebuild(self, plan: BuildPlan, stay_off: bool, cancel: Event, report: Report) -> Guest:
        """See the contract."""
        return rebuild.rebuild(self.host, plan, stay_off, cancel, report)

    def rescue(self, plan: BuildPlan, cancel: Event, report: Report) -> Guest:
        """See the contract."""
        return rebuild.rescue(self.host, plan, cancel, report)

    def unrescue(self, plan: BuildPlan, fence: int) -> Guest:
        """See the contract."""
        return rebuild.unrescue(self.host, plan, fence)

    def attach(self, plan: BuildPlan, fence: int, port_id: str) -> Guest:
        """See the contract."""
        return plugging.attach(self.host, plan, fence, port_id)

    def detach(self, plan: BuildPlan, fence: int, port_id: str, cancel: Event) -> Guest:
        """See the contract."""
        return plugging.detach(self.host, plan, fence, port_id, cancel)

    def snapshot(self, server_id: str, fence: int, cancel: Event, report: Report) -> Path:
        """See the contract."""
        return snapshot.take(self.host, server_id, fence, cancel, report)

    def discard_snapshot(self, server_id: str, fence: int) -> None:
        """See the contract."""
        snapshot.discard(self.host, server_id, fence)

    def destroy(self, server_id: str, fence: int) -> None:
        """See the contract."""
        build.destroy(self.host, server_id, fence)

    def has_agent(self, server_id: str) -> bool:
        """See the contract."""
        return agent.answers(self.host, server_id)

    def diagnostics(self, server_id: str) -> Diagnostics:
        """See the contract."""
        return diagnostics.read(self.host, server_id)

    def console_log(self, server_id: str, lines: int | None) -> str:
        """See the contract. Raises HostFault "no_guest"."""
        self.host.guests.get(server_id)
        return read_log(self.host.storage.console_log(server_id), lines)

    def tidy(self) -> None:
        """See the contract."""
        with TIDY:
            self.host.cache.tidy(self._settings.cache_keep_hours * 3600.0)
            self.host.networks.remove_unused()
            snapshot.tidy(self.host)
            self.host.firewall.reassert()

    def cache_image(self, image: ImageSource, cancel: Event, report: Report) -> None:
        """See the contract."""
        with self.host.cache.lease(image, cancel, report):
            pass

    def secure(self, state: Networking) -> None:
        """See the contract."""
        self.host.firewall.tell(state)

    def remove_rules(self) -> None:
        """Remove this cloud's filters and firewall rules, for bin/down; no guest may run."""
        self.host.firewall.remove_all()

    def remove_networks(self) -> None:
        """Remove all networks of this cloud from the host, for bin/down; no guest may run."""
        self.host.networks.remove_all()
        self.host.firewall.remove_all()

    def _virt_type(self) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        wanted = self._settings.virt_type
        return probe.choose(self._connection, wanted, self.cloud_id, self._folder)

    def _facts(self, link: Link) -> HostFacts:
        capabilities = ET.fromstring(link.getCapabilities())
        _, _, vcpus, *_ = link.getInfo()
        host_uuid = capabilities.findtext("host/uuid") or str(
            uuid.uuid5(_NAMESPACE, self.host_name)
        )
        return HostFacts(
            uuid=host_uuid,
            hostname=link.getHostname(),
            address=self._settings.host_address or "127.0.0.1",
            vcpus=int(vcpus),
            ram_mb=_ram_mb(link),
            disk_gb=shutil.disk_usage(self._folder).total // GIB,
            hypervisor_type=link.getType(),
            hypervisor_version=int(link.getVersion()),
            cpu_model=capabilities.findtext("host/cpu/model") or "",
            virt_type=self.host.virt_type,
            supported=kinds.supported(capabilities, self.host.virt_type),
            traits=kinds.traits(capabilities, self.host.virt_type, self._settings.host_traits),
            cpu=kinds.cpu(capabilities),
        )


def _runs_guests(link: Link) -> bool:
    return abilities(link).runs_guests


def _ram_mb(link: Link) -> int:
    """All RAM in MiB. Where memory was plugged in later, getInfo knows only the first node's."""
    try:
        stats = link.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
        return int(stats["total"]) // 1024
    except (libvirt.libvirtError, KeyError):
        return int(link.getInfo()[1])
