"""What a hypervisor's machine is, and what guests it runs, from libvirt's capabilities."""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element

from app.virt.libvirt.domain_xml import ARCHITECTURE

ALWAYS = (
    "COMPUTE_IMAGE_TYPE_QCOW2",
    "COMPUTE_IMAGE_TYPE_RAW",
    "COMPUTE_NET_VIF_MODEL_VIRTIO",
    "COMPUTE_STORAGE_BUS_VIRTIO",
)
"""Traits of every host: what our guests are made of."""
_NO_NAME = re.compile(r"[^A-Z0-9]+")


def supported(capabilities: Element, virt_type: str) -> tuple[tuple[str, str, str], ...]:
    """(architecture, hypervisor type, mode) of the guests it runs, as images ask for them.

    Only what our guests are, and what `virt_type` gives: KVM runs what is made for QEMU too, QEMU
    alone no KVM.
    """
    found = set()
    usable = {virt_type, "qemu"} if virt_type == "kvm" else {virt_type}
    for guest in capabilities.findall("guest"):
        mode = guest.findtext("os_type") or "hvm"
        for arch in guest.findall(f"arch[@name='{ARCHITECTURE}']"):
            kinds = {domain.get("type", "") for domain in arch.findall("domain")}
            found |= {(ARCHITECTURE, kind, mode) for kind in kinds & usable}
    return tuple(sorted(found))


def traits(capabilities: Element, virt_type: str, configured: str) -> tuple[str, ...]:
    """Names of the os-traits kind: ours, the operator's, and under KVM the processor's features."""
    found = {*ALWAYS, *configured.replace(",", " ").split()}
    if virt_type == "kvm":
        found |= {f"HW_CPU_X86_{_name(feature)}" for feature in _features(capabilities)}
    return tuple(sorted(found))


def cpu(capabilities: Element) -> dict[str, Any]:
    """The processor, by the names that Nova's `cpu_info` has."""
    found = {name: capabilities.findtext(f"host/cpu/{name}") for name in ("arch", "vendor")}
    topology = capabilities.find("host/cpu/topology")
    return {
        **{name: text for name, text in found.items() if text},
        "model": capabilities.findtext("host/cpu/model") or "",
        "features": _features(capabilities),
        "topology": {
            name: int(value)
            for name, value in (topology.attrib if topology is not None else {}).items()
            if value.isdecimal()
        },
    }


def _features(capabilities: Element) -> list[str]:
    return sorted(one.get("name", "") for one in capabilities.findall("host/cpu/feature"))


def _name(feature: str) -> str:
    """`sse4.1` is SSE41, `avx512-vnni` is AVX512_VNNI."""
    return _NO_NAME.sub("_", feature.upper().replace(".", ""))
