"""Whether KVM works here: proven by a guest that has run, never by /dev/kvm being there.

On some machines /dev/kvm exists and opens, and guests start under it but crawl or hang: one was
seen that ran a few instructions in three seconds. So the proof is a boot sector that counts down
from 100 million and then writes a letter to the serial port, on the CPU model that guests get; a
CPU that really runs takes a tenth of a second. It is remembered for this boot only.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
import xml.etree.ElementTree as ET
from pathlib import Path

import libvirt

from app.errors import HostFault, Invalid
from app.virt.libvirt.abilities import abilities
from app.virt.libvirt.connection import Connection, Link
from app.virt.libvirt.domain_xml import add_cpu
from app.virt.libvirt.names import domain_prefix

logger = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
COUNT = 100_000_000
# cli; mov ecx, COUNT; dec ecx; jnz back; mov dx, 0x3f8; mov al, 'N'; out dx, al; hlt; jmp back
_CODE = (
    *(b"\xfa\x66\xb9", COUNT.to_bytes(4, "little"), b"\x66\x49\x75\xfc"),
    *(b"\xba\xf8\x03\xb0\x4e\xee", b"\xf4\xeb\xfd"),
)
BOOT_SECTOR = b"".join(_CODE).ljust(510, b"\0") + b"\x55\xaa"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """This boot of the machine."""
    return BOOT_ID.read_text().strip()


def choose(connection: Connection, wanted: str, cloud_id: str, folder: Path) -> str:
    """The virt_type to use: "kvm", "qemu" or "test". `wanted` is the setting, "auto" to prove.

    `folder` takes the probe's files and the remembered answer. Raises Invalid; HostFault.
    """
    if wanted not in ("auto", "kvm", "qemu"):
        raise Invalid(f"setting virt_type: {wanted!r} is not auto, kvm or qemu")
    if not connection.run("open", abilities).runs_guests:
        return "test"
    if wanted != "auto":
        return wanted
    memory = folder / "virt_type.json"
    if (known := _remembered(memory)) is not None:
        return known
    chosen = "kvm" if Path("/dev/kvm").exists() and proves(connection, cloud_id, folder) else "qemu"
    memory.write_text(json.dumps({"boot_id": boot_id(), "virt_type": chosen}))
    logger.info("virt_type auto is %s", chosen)
    return chosen


def proves(
    connection: Connection,
    cloud_id: str,
    folder: Path,
    virt_type: str = "kvm",
    seconds: float = PROBE_SECONDS,
) -> bool:
    """Whether a guest of `virt_type` runs its first instructions within `seconds`."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{domain_prefix(cloud_id)}probe-{uuid.uuid4().hex[:8]}"
    disk, output = folder / f"{name}.img", folder / f"{name}.out"
    disk.write_bytes(BOOT_SECTOR)
    refused = threading.Event()
    thread = threading.Thread(
        target=_start,
        args=(connection, _probe_xml(name, virt_type, disk, output), refused),
        name="kvm-probe",
        daemon=True,
    )
    try:
        thread.start()
        return _written(output, time.monotonic() + seconds, refused)
    finally:
        thread.join(seconds)
        _end(connection, name)
        disk.unlink(missing_ok=True)
        output.unlink(missing_ok=True)


def _remembered(memory: Path) -> str | None:
    try:
        data = json.loads(memory.read_text())
        return str(data["virt_type"]) if data["boot_id"] == boot_id() else None
    except (OSError, ValueError, KeyError):
        return None


def _written(output: Path, deadline: float, refused: threading.Event) -> bool:
    while time.monotonic() < deadline and not refused.wait(0.05):
        if output.exists() and b"N" in output.read_bytes():
            return True
    return False


def _start(connection: Connection, xml: str, refused: threading.Event) -> None:
    """Transient, and gone with our connection should this process die."""
    try:
        connection.get().createXML(xml, libvirt.VIR_DOMAIN_START_AUTODESTROY)
    except (libvirt.libvirtError, HostFault) as error:
        logger.info("the KVM probe did not start: %s", error)
        refused.set()


def _end(connection: Connection, name: str) -> None:
    def end(link: Link) -> None:
        try:
            link.lookupByName(name).destroyFlags(0)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise

    try:
        connection.run("end the KVM probe", end)
    except HostFault as fault:
        logger.warning("the KVM probe's guest is still there: %s", fault.message)


def _probe_xml(name: str, virt_type: str, disk: Path, output: Path) -> str:
    domain = ET.Element("domain", type=virt_type)
    ET.SubElement(domain, "name").text = name
    ET.SubElement(domain, "memory", unit="MiB").text = "16"
    ET.SubElement(domain, "vcpu").text = "1"
    system = ET.SubElement(domain, "os")
    ET.SubElement(system, "type", arch="x86_64", machine="pc").text = "hvm"
    add_cpu(domain, virt_type)
    devices = ET.SubElement(domain, "devices")
    drive = ET.SubElement(devices, "disk", type="file", device="disk")
    ET.SubElement(drive, "driver", name="qemu", type="raw")
    ET.SubElement(drive, "source", file=str(disk))
    ET.SubElement(drive, "target", dev="hda", bus="ide")
    ET.SubElement(devices, "controller", type="usb", model="none")
    ET.SubElement(devices, "memballoon", model="none")
    serial = ET.SubElement(devices, "serial", type="file")
    ET.SubElement(serial, "source", path=str(output))
    return ET.tostring(domain, encoding="unicode")
