"""What a hypervisor reports: guests, hosts and leftovers, in plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NOSTATE, RUNNING, PAUSED, SHUTDOWN, CRASHED, SUSPENDED = 0, 1, 3, 4, 6, 7


@dataclass(frozen=True)
class Guest:
    """A guest of this cloud on this host.

    `fence` is the fence its disk was built at, `applied` that of the last effect on it,
    `power_state` Nova's number. `rescue` is the fence of the rescue disk that it boots from, or 0.
    """

    server_id: str
    fence: int
    committed: bool
    applied: int
    power_state: int
    rescue: int = 0

    @property
    def paused(self) -> bool:
        """Built, and waiting for its commit."""
        return self.power_state == PAUSED


@dataclass(frozen=True)
class HostFacts:
    """A hypervisor's identity and capacity; RAM in MiB, disk in GiB, version as libvirt's int.

    `supported` has an (architecture, hypervisor type, mode) for each kind of guest that it runs,
    `traits` names of the os-traits kind; `cpu` describes its processor (`arch`, `vendor`, `model`,
    `features`, `topology`).
    """

    uuid: str
    hostname: str
    address: str
    vcpus: int
    ram_mb: int
    disk_gb: int
    hypervisor_type: str
    hypervisor_version: int
    cpu_model: str = ""
    virt_type: str = ""
    supported: tuple[tuple[str, str, str], ...] = ()
    traits: tuple[str, ...] = ()
    cpu: Mapping[str, Any] = field(default_factory=dict)

    def abilities(self) -> str:
        """A JSON object in a canonical form of what placement asks of a host."""
        told = {
            "supported_instances": sorted(self.supported),
            "traits": sorted(self.traits),
            "cpu_info": dict(self.cpu),
        }
        return json.dumps(told, sort_keys=True)


@dataclass(frozen=True)
class Inventory:
    """All that bears our cloud's id on one host. Leftovers are keyed by server id.

    `disks` are servers with files on the host, `dhcp` those with a DHCP entry, whether or not
    they still have a guest, `leases` all of these entries as (server id, MAC, address); `complete`
    is false when a part could not be read.
    """

    guests: tuple[Guest, ...]
    disks: tuple[str, ...] = ()
    dhcp: tuple[str, ...] = ()
    complete: bool = True
    boot_id: str = ""
    leases: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class DiskUse:
    """A disk's counters since the guest started; `errors` is -1 where nobody counts them."""

    name: str
    read_bytes: int
    read_requests: int
    write_bytes: int
    write_requests: int
    errors: int


@dataclass(frozen=True)
class NicUse:
    """An interface's counters since the guest started, as the guest sees their direction."""

    name: str
    mac: str
    rx_octets: int
    rx_packets: int
    rx_errors: int
    rx_drop: int
    tx_octets: int
    tx_packets: int
    tx_errors: int
    tx_drop: int


@dataclass(frozen=True)
class Diagnostics:
    """What a running guest uses: CPU times in ns, memory in MiB (`memory_used` 0 if unknown)."""

    driver: str
    hypervisor: str
    power_state: int
    cpu_times: tuple[int, ...]
    memory_mb: int
    memory_used_mb: int
    disks: tuple[DiskUse, ...]
    nics: tuple[NicUse, ...]
