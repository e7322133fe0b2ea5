"""Our libvirt networks on one host, and the DHCP entries in them."""

from __future__ import annotations

import re
import threading
import time
import xml.etree.ElementTree as ET
from typing import Any

import libvirt

from app.domain.message import BuildPlan, Nic
from app.errors import HostFault
from app.failpoints import Step
from app.virt.libvirt import host_routes, stale_bridge
from app.virt.libvirt.abilities import abilities
from app.virt.libvirt.connection import Connection, Link
from app.virt.libvirt.dhcp_release import release
from app.virt.libvirt.names import bridge_name, dhcp_name, network_name, network_prefix, server_of
from app.virt.libvirt.network_xml import (
    Entry,
    bridge_address,
    entries,
    is_open,
    network_xml,
    owner,
)

Network = Any
"""A libvirt.virNetwork."""

_IN_USE = re.compile(r"already in use by interface (\S+)")
_LIVE = (libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE, 0)
_CONFIG = (libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG, libvirt.VIR_NETWORK_XML_INACTIVE)
UNUSED_SECONDS = 300.0
"""For so long after a build asked for it a network is not thought unused."""
NETWORK, ENTRY = Step("network.run"), Step("network.dhcp")
_BOTH = (_LIVE[0] | _CONFIG[0], 0)


class Networks:
    """The networks of one cloud on one libvirtd."""

    def __init__(self, connection: Connection, cloud_id: str) -> None:
        self._connection = connection
        self._cloud_id = cloud_id
        self._making = threading.Lock()
        self._wanted: dict[str, float] = {}

    def attach(self, plan: BuildPlan) -> dict[str, str]:
        """Have the networks of `plan` run, with its DHCP entries; idempotent.

        Returns libvirt's network names by bridge. Raises HostFault "subnet_in_use".
        """
        counts: dict[str, int] = {}
        for nic in plan.nics:
            index = counts.get(nic.bridge, 0)
            counts[nic.bridge] = index + 1
            name = dhcp_name(plan.hostname, plan.server_id, index)
            with NETWORK:
                self._ensure(nic, plan.server_id)
            with ENTRY:
                if nic.dhcp:
                    self._add(nic.bridge, Entry(nic.mac, nic.address, name), plan.server_id)
        return {one: network_name(self._cloud_id, one) for one in counts}

    def wake(self, names: list[str], server_id: str) -> None:
        """Have the networks with these libvirt names run again, e.g. after a host's reboot."""

        def start(link: Link) -> None:
            for name in names:
                self._start(link.networkLookupByName(name))

        with self._making:
            self._connection.run("start networks", start, server_id)

    def release(self, server_id: str) -> None:
        """Remove the DHCP entries of a server, and give its leases back."""

        def remove(link: Link) -> None:
            for network in self._ours(link):
                bridge, server = bridge_address(network.XMLDesc(0))
                for entry in _update(network, _belongs_to(server_id), None):
                    release(bridge, server, entry.address, entry.mac)

        self._connection.run("remove DHCP entries", remove, server_id)

    def withdraw(self, nic: Nic, server_id: str) -> None:
        """Remove the DHCP entry of one of a server's NICs, and give its lease back."""
        mine = _belongs_to(server_id)

        def remove(link: Link) -> None:
            for network in self._ours(link):
                bridge, server = bridge_address(network.XMLDesc(0))
                for entry in _update(network, lambda one: mine(one) and one.mac == nic.mac, None):
                    release(bridge, server, entry.address, entry.mac)

        self._connection.run("remove a DHCP entry", remove, server_id)

    def leases(self) -> tuple[tuple[str, str, str], ...]:
        """All servers' DHCP entries here: (server id, MAC, address)."""

        def read(link: Link) -> list[tuple[str, str, str]]:
            every = [entry for one in self._ours(link) for entry in entries(one.XMLDesc(0))]
            named = [(server_of(entry.name), entry) for entry in every]
            return [(server, entry.mac, entry.address) for server, entry in named if server]

        return tuple(sorted(self._connection.run("list DHCP entries", read)))

    def remove_all(self) -> None:
        """Stop and undefine all our networks: bridges and dnsmasq go."""

        def remove(link: Link) -> None:
            for network in self._ours(link):
                if network.isActive():
                    network.destroy()
                network.undefine()

        with self._making:
            self._connection.run("remove networks", remove)

    def remove_unused(self) -> None:
        """Remove the networks that no guest here is in, but for those that lead out by themselves;
        one that a build wanted a moment ago stays for now."""

        def remove(link: Link) -> None:
            now = time.monotonic()
            idle = [one for one in self._ours(link) if self._is_idle(one, now)]
            used = _in_use(link) if idle else set()
            for network in idle:
                if network.name() not in used:
                    if network.isActive():
                        network.destroy()
                    network.undefine()

        with self._making:
            self._connection.run("remove unused networks", remove)

    def _is_idle(self, network: Network, now: float) -> bool:
        wanted = self._wanted.setdefault(network.name(), now)
        xml = network.XMLDesc(0)
        guests = [one for one in entries(xml) if server_of(one.name)]
        return now - wanted > UNUSED_SECONDS and is_open(xml) and not guests

    def _ensure(self, nic: Nic, server_id: str) -> None:
        """Define and start; the lock spares concurrent builds each other's half-made network."""

        def ensure(link: Link) -> None:
            name = network_name(self._cloud_id, nic.bridge)
            self._wanted[name] = time.monotonic()
            network = _lookup(link, name)
            if network is not None and owner(network.XMLDesc(0)) != self._cloud_id:
                raise HostFault(f"network {name} is not ours", code="foreign_network")
            if network is None or not network.isActive():
                self._refuse_used(link, nic)
            made = network is None
            if network is None:
                network = link.networkDefineXML(network_xml(self._cloud_id, nic))
            try:
                self._start(network)
            except libvirt.libvirtError as error:
                if made:
                    network.undefine()
                if used := _IN_USE.search(str(error)):
                    raise _in_use_by(nic, f"interface {used[1]}") from error
                raise

        with self._making:
            self._connection.run("make network", ensure, server_id)

    def _refuse_used(self, link: Link, nic: Nic) -> None:
        """A bridge with addresses of the host's networks would cut the host off from them."""
        if not abilities(link).runs_guests:
            return
        bridge = bridge_name(self._cloud_id, nic.bridge)
        if used := host_routes.user_of(self._connection.uri, nic.cidr, bridge):
            raise _in_use_by(nic, used)

    def _start(self, network: Network) -> None:
        """Start a network, over what a killed libvirtd may have left of an earlier start."""
        if network.isActive():
            return
        try:
            network.create()
        except libvirt.libvirtError as error:
            if network.isActive():
                return
            bridge = network.bridgeName()
            used = _IN_USE.search(str(error))
            if not (f"{bridge}: File exists" in str(error) or (used and used[1] == bridge)):
                raise
            stale_bridge.remove(self._connection.uri, network.name(), bridge)
            network.create()

    def _add(self, bridge: str, entry: Entry, server_id: str) -> None:
        def add(link: Link) -> None:
            network = link.networkLookupByName(network_name(self._cloud_id, bridge))
            _update(network, entry.clashes, entry)

        self._connection.run("add DHCP entry", add, server_id)

    def _ours(self, link: Link) -> list[Network]:
        prefix = network_prefix(self._cloud_id)
        named = [one for one in link.listAllNetworks(0) if one.name().startswith(prefix)]
        return [one for one in named if owner(one.XMLDesc(0)) == self._cloud_id]


def _in_use_by(nic: Nic, what: str) -> HostFault:
    return HostFault(f"subnet {nic.cidr} is in use by {what} of this host", code="subnet_in_use")


def _in_use(link: Link) -> set[str]:
    """The names of networks that a domain's definition, or a running domain, names."""
    found: set[str] = set()
    for domain in link.listAllDomains(0):
        sources = ET.fromstring(domain.XMLDesc(0)).findall("devices/interface/source")
        found |= {name for source in sources if (name := source.get("network"))}
    return found


def _update(network: Network, unwanted: Any, wanted: Entry | None) -> set[Entry]:
    """Remove the entries that `unwanted` says yes to, but for `wanted`, which is added.

    Both in the running network and in its definition. Returns what was removed.
    """
    removed: set[Entry] = set()
    for flag, desc in _views(network):
        present = entries(network.XMLDesc(desc))
        for entry in present:
            if entry != wanted and unwanted(entry):
                _refuse_foreign(entry, wanted)
                _change(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, entry, flag)
                removed.add(entry)
        if wanted is not None and wanted not in present:
            _change(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, wanted, flag)
    return removed


def _views(network: Network) -> tuple[tuple[int, int], ...]:
    """The flags to change and to read the network's two sets of entries, or its only one."""
    if not abilities(network.connect()).network_views:
        return (_BOTH,)
    return (_LIVE, _CONFIG) if network.isActive() else (_CONFIG,)


def _refuse_foreign(entry: Entry, wanted: Entry | None) -> None:
    """Never take an address or MAC from another server's entry."""
    if wanted is not None and server_of(entry.name) != server_of(wanted.name):
        message = f"address {wanted.address} or MAC {wanted.mac} belongs to {entry.name} here"
        raise HostFault(message, code="address_in_use")


def _change(network: Network, command: int, entry: Entry, flag: int) -> None:
    section = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
    network.update(command, section, -1, entry.xml(), flag)


def _belongs_to(server_id: str) -> Any:
    return lambda entry: server_of(entry.name) == server_id


def _lookup(link: Link, name: str) -> Network | None:
    try:
        return link.networkLookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_NETWORK:
            return None
        raise
