"""What a running guest uses, as libvirt counts it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from contextlib import suppress

import libvirt

from app.domain.guest import Diagnostics, DiskUse, NicUse
from app.virt.libvirt.build import Host
from app.virt.libvirt.guest import Domain
from app.virt.libvirt.pausing import is_off, not_running

KIB_PER_MIB = 1024


def read(host: Host, server_id: str) -> Diagnostics:
    """See the contract."""
    guest = host.guests.get(server_id)
    if is_off(guest):
        raise not_running(guest)

    def look(domain: Domain) -> Diagnostics:
        root = ET.fromstring(domain.XMLDesc(0))
        memory_mb, used_mb = _memory(domain)
        return Diagnostics(
            driver="libvirt",
            hypervisor=root.get("type", ""),
            power_state=guest.power_state,
            cpu_times=_cpu_times(domain),
            memory_mb=memory_mb,
            memory_used_mb=used_mb,
            disks=tuple(_disk(domain, name) for name in _targets(root, "disk")),
            nics=tuple(_nic(domain, one) for one in root.findall("devices/interface")),
        )

    return host.guests.ask("diagnose", server_id, look)


def _cpu_times(domain: Domain) -> tuple[int, ...]:
    return tuple(int(cpu[2]) for cpu in domain.vcpus()[0])


def _memory(domain: Domain) -> tuple[int, int]:
    """MiB that the guest has, and that it uses; 0 where its balloon does not say."""
    stats = {}
    with suppress(libvirt.libvirtError):
        stats = domain.memoryStats()
    total = int(domain.maxMemory()) // KIB_PER_MIB
    if "available" not in stats or "unused" not in stats:
        return total, 0
    return total, (int(stats["available"]) - int(stats["unused"])) // KIB_PER_MIB


def _targets(root: ET.Element, kind: str) -> list[str]:
    found = [one.get("dev", "") for one in root.findall(f"devices/{kind}/target")]
    return [name for name in found if name]


def _disk(domain: Domain, name: str) -> DiskUse:
    requests_read, octets_read, requests_written, octets_written, errors = domain.blockStats(name)
    return DiskUse(name, octets_read, requests_read, octets_written, requests_written, errors)


def _nic(domain: Domain, interface: ET.Element) -> NicUse:
    """libvirt knows an interface by its host's device, or, where it has none, by its MAC."""
    target, mac = interface.find("target"), interface.find("mac")
    address = "" if mac is None else mac.get("address", "")
    name = address if target is None else target.get("dev", address)
    rx, rx_packets, rx_errors, rx_drop, tx, tx_packets, tx_errors, tx_drop = domain.interfaceStats(
        name
    )
    return NicUse(
        name, address, rx, rx_packets, rx_errors, rx_drop, tx, tx_packets, tx_errors, tx_drop
    )
