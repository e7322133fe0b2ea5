"""The libvirt domain of a build plan: pure, and tested against golden files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.domain.message import BuildPlan, Nic
from app.virt.libvirt import mark as marks
from app.virt.libvirt.mark import Mark
from app.virt.libvirt.names import domain_name

ARCHITECTURE = "x86_64"
"""Of all guests."""


@dataclass(frozen=True)
class Place:
    """Where a guest's parts lie on its host. `networks` maps bridges to libvirt's names, `filters`
    the ids of guarded ports to those of libvirt's filters.

    With a `rescue` disk the guest boots from that one, and has its own as the second.
    """

    virt_type: str
    disk: Path
    config_drive: Path
    console_log: Path
    networks: Mapping[str, str]
    filters: Mapping[str, str] = field(default_factory=dict)
    rescue: Path | None = None


def domain_xml(plan: BuildPlan, mark: Mark, place: Place) -> str:
    """The persistent definition of the guest of `plan`, bearing `mark`."""
    domain = ET.Element("domain", type=place.virt_type)
    _text(domain, "name", domain_name(mark.cloud_id, plan.server_id))
    _text(domain, "uuid", plan.server_id)
    _text(domain, "title", "".join(char for char in plan.name if char.isprintable()))
    ET.SubElement(domain, "metadata").append(marks.element(mark))
    _text(domain, "memory", str(plan.resources.ram_mb), unit="MiB")
    _text(domain, "vcpu", str(plan.resources.vcpus))
    system = ET.SubElement(domain, "os")
    _text(system, "type", "hvm", arch=ARCHITECTURE, **_machine(place.virt_type))
    ET.SubElement(system, "boot", dev="hd")
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    add_cpu(domain, place.virt_type)
    _clock(domain, place.virt_type)
    for event, action in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "destroy")):
        _text(domain, f"on_{event}", action)
    devices = ET.SubElement(domain, "devices")
    _disks(devices, place)
    for nic in plan.nics:
        guard = place.filters.get(nic.port_id)
        devices.append(interface(nic, place.networks[nic.bridge], guard))
    _console(devices, place)
    _extras(devices)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"


def _machine(virt_type: str) -> dict[str, str]:
    """QEMU's PC: quick to boot, and every small kernel knows its IDE bus."""
    return {} if virt_type == "test" else {"machine": "pc"}


def add_cpu(domain: ET.Element, virt_type: str) -> None:
    """The CPU model that guests of `virt_type` get; the probe proves the same one."""
    if virt_type == "kvm":
        ET.SubElement(domain, "cpu", mode="host-passthrough", check="none")
    elif virt_type == "qemu":
        ET.SubElement(domain, "cpu", mode="maximum", check="none")


def _clock(domain: ET.Element, virt_type: str) -> None:
    clock = ET.SubElement(domain, "clock", offset="utc")
    if virt_type == "kvm":
        ET.SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
        ET.SubElement(clock, "timer", name="pit", tickpolicy="delay")
    if virt_type != "test":
        ET.SubElement(clock, "timer", name="hpet", present="no")


def _disks(devices: ET.Element, place: Place) -> None:
    """The disks on virtio, and the config drive as Nova's default does it: a CD-ROM."""
    paths = (place.disk,) if place.rescue is None else (place.rescue, place.disk)
    for path, target in zip(paths, ("vda", "vdb"), strict=False):
        disk = ET.SubElement(devices, "disk", type="file", device="disk")
        ET.SubElement(disk, "driver", name="qemu", type="qcow2", cache="writeback", discard="unmap")
        ET.SubElement(disk, "source", file=str(path))
        ET.SubElement(disk, "target", dev=target, bus="virtio")
    drive = ET.SubElement(devices, "disk", type="file", device="cdrom")
    ET.SubElement(drive, "driver", name="qemu", type="raw")
    ET.SubElement(drive, "source", file=str(place.config_drive))
    ET.SubElement(drive, "target", dev="hda", bus="ide")
    ET.SubElement(drive, "readonly")


def interface(nic: Nic, network: str, guard: str | None = None) -> ET.Element:
    """A NIC in the libvirt network of that name, held by the filter of that name."""
    made = ET.Element("interface", type="network")
    ET.SubElement(made, "mac", address=nic.mac)
    ET.SubElement(made, "source", network=network)
    ET.SubElement(made, "model", type="virtio")
    if guard is not None:
        ET.SubElement(made, "filterref", filter=guard)
    ET.SubElement(made, "mtu", size=str(nic.mtu))
    return made


def _console(devices: ET.Element, place: Place) -> None:
    """A serial console that is logged to a file, and can still be attached to."""
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "log", file=str(place.console_log), append="on")
    ET.SubElement(serial, "target", port="0")
    console = ET.SubElement(devices, "console", type="pty")
    ET.SubElement(console, "target", type="serial", port="0")
    graphics = ET.SubElement(devices, "graphics", type="vnc", port="-1", autoport="yes")
    ET.SubElement(graphics, "listen", type="address", address="127.0.0.1")
    video = ET.SubElement(devices, "video")
    ET.SubElement(video, "model", type="vga")


def _extras(devices: ET.Element) -> None:
    """Entropy, a balloon for its statistics, and a channel for the guest agent."""
    rng = ET.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    balloon = ET.SubElement(devices, "memballoon", model="virtio")
    ET.SubElement(balloon, "stats", period="10")
    channel = ET.SubElement(devices, "channel", type="unix")
    ET.SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text
