"""Which extra specs of flavors mean something, and which values they take (from 2.86 enforced).

A key in a namespace that is known here must itself be known, and its value of the right kind;
keys of other namespaces, and without one, are the operator's own.
"""

from __future__ import annotations

import re

from app.errors import Invalid

_BOOLEAN = r"(?i:1|0|t|f|true|false|on|off|y|n|yes|no)"
_NUMBER = r"-?\d+"
_FROM_ZERO, _FROM_ONE = r"\d+", r"0*[1-9]\d*"
_CPUS = r"\^?\d+(-\d+)?(,\^?\d+(-\d+)?)*"
_ANY = r".*"
_ID = r"[a-zA-Z0-9_-]{1,64}"

# Pattern of the key to pattern of the value; "|" separates what may stand at one place.
_KNOWN: dict[str, str] = {
    r"hw:(cpu_realtime|hide_hypervisor_id|boot_menu|mem_encryption|pmu|locked_memory|"
    r"vif_multiqueue_enabled|virtio_packed_ring|ephemeral_encryption)": _BOOLEAN,
    r"hw:(numa_nodes|cpu_(sockets|cores|threads)|max_cpu_(sockets|cores|threads)|numa_mem\.\d+)": (
        _FROM_ONE
    ),
    r"hw:(cpu_realtime_mask|cpu_dedicated_mask|numa_cpus\.\d+)": _CPUS,
    r"hw:cpu_policy": "dedicated|shared|mixed",
    r"hw:cpu_thread_policy": "prefer|isolate|require",
    r"hw:emulator_threads_policy": "isolate|share",
    r"hw:mem_page_size": r"large|small|any|\d+([kKMGT]i?)?(b|bit|B)?",
    r"hw:pci_numa_affinity_policy": "required|preferred|legacy|socket",
    r"hw:pmem": r"[a-zA-Z0-9_]+(,[a-zA-Z0-9_]+)*,?",
    r"hw:(serial_port_count|maxphysaddr_bits)": _FROM_ZERO,
    r"hw:maxphysaddr_mode": "passthrough|emulate",
    r"hw:ephemeral_encryption_format": "luks|luksv2|plain",
    r"hw:tpm_model": "tpm-tis|tpm-crb",
    r"hw:tpm_version": r"1\.2|2\.0",
    r"hw:viommu_model": "intel|smmuv3|virtio|auto",
    r"hw:watchdog_action": "none|pause|poweroff|reset|disabled",
    r"hw_rng:allowed": _BOOLEAN,
    r"hw_rng:rate_(bytes|period)": _FROM_ZERO,
    r"hw_video:ram_max_mb": _FROM_ZERO,
    r"os:secure_boot": "disabled|optional|required",
    r"os:(monitors|vram)": _FROM_ONE,
    r"os:resolution": r"\d+x\d+",
    r"accel:device_profile": _ANY,
    r"aggregate_instance_extra_specs:.+": _ANY,
    r"capabilities:.+": _ANY,
    r"pci_passthrough:alias": r"[^:,]+:\d+(\s*,\s*[^:,]+:\d+)*",
    r"quota:(cpu_(quota|period|shares)|disk_(read|write|total)_(bytes|iops)_sec|"
    r"vif_(inbound|outbound)_(average|peak|burst))": _NUMBER,
    r"quota:(cpu|memory|disk_io|vif)_(limit|reservation|shares_share)": _NUMBER,
    r"quota:(cpu|memory|disk_io|vif)_shares_level": "low|normal|high|custom",
    rf"resources({_ID})?:[A-Z0-9_]+": _FROM_ZERO,
    rf"trait({_ID})?:[A-Z0-9_]+": "required|forbidden",
    r"vmware:(hw_version|storage_policy|boot_retry)": _ANY,
    r"hide_hypervisor_id": _BOOLEAN,
    r"group_policy": "isolate|none",
}
_RULES = [(re.compile(key), re.compile(value)) for key, value in _KNOWN.items()]
_NAMESPACE = re.compile(
    rf"hw|hw_rng|hw_video|os|accel|aggregate_instance_extra_specs|capabilities|pci_passthrough|"
    rf"quota|resources({_ID})?|trait({_ID})?|vmware"
)


def check(key: str, value: str) -> None:
    """Raises Invalid for a key that its namespace does not have, and for a value it cannot take."""
    for name, allowed in _RULES:
        if name.fullmatch(key):
            if not allowed.fullmatch(value):
                raise Invalid(f"Validation failed; extra spec {key} cannot have that value.")
            return
    namespace, colon, _ = key.partition(":")
    if colon and _NAMESPACE.fullmatch(namespace):
        raise Invalid(
            f"Validation failed; extra spec {key} does not appear to be a valid extra spec."
        )
