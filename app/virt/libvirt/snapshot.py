"""The disk of a guest as it is at one moment, copied while it runs."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from pathlib import Path
from threading import Event

import libvirt

from app.domain.guest import PAUSED, RUNNING, Guest
from app.errors import Cancelled, HostFault
from app.failpoints import Step
from app.virt.driver import Report
from app.virt.libvirt import power
from app.virt.libvirt.abilities import abilities
from app.virt.libvirt.build import Host, check_cancel
from app.virt.libvirt.child import run
from app.virt.libvirt.connection import translated
from app.virt.libvirt.guest import Domain
from app.virt.libvirt.storage import settle

CONVERT_SECONDS = 3500.0
"""A snapshot may take an hour; the file of one that takes longer is given up before that."""
STALE_SECONDS = 86400.0
"""No request lasts as long, so that a copy which is older is nobody's."""
POLL_SECONDS = 0.5
MIB = 1024 * 1024
COPY, NAME, DISCARD = Step("snapshot.copy"), Step("snapshot.name"), Step("snapshot.discard")


def take(host: Host, server_id: str, fence: int, cancel: Event, report: Report) -> Path:
    """See the contract: a live copy by a backup job of QEMU's, else by qemu-img."""
    guest = power.committed(host, server_id, fence)
    host.storage.drop_snapshots(server_id, fence)  # whoever made those has ended
    path = host.storage.snapshot(server_id, fence)
    if path.exists():
        return path
    check_cancel(cancel, server_id)
    part = _part(path)
    host.guests.ask("abort a job", server_id, _abort)  # of a try that was interrupted
    part.unlink(missing_ok=True)
    report(0, "copying the disk")
    try:
        with COPY:
            if guest.power_state in (RUNNING, PAUSED) and _is_live(host, server_id):
                _back_up(host, guest, part, cancel, report)
            else:
                _convert(host.storage.disk(server_id, guest.fence), part, cancel, report)
        with NAME:
            settle(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def discard(host: Host, server_id: str, fence: int) -> None:
    """See the contract."""
    path = host.storage.snapshot(server_id, fence)
    with DISCARD, translated("discard a snapshot", server_id):
        path.unlink(missing_ok=True)
        _part(path).unlink(missing_ok=True)


def tidy(host: Host) -> None:
    """Remove the copies of which no task knows any more: their workers died, and then came a newer
    request or no further try."""
    for server_id in host.storage.servers():
        if not host.storage.snapshots(server_id):
            continue
        guest = host.guests.find(server_id)
        newest = max(guest.fence, guest.applied) if guest is not None else 0
        host.storage.drop_snapshots(server_id, newest, time.time() - STALE_SECONDS)


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _is_live(host: Host, server_id: str) -> bool:
    return host.guests.ask(
        "look", server_id, lambda domain: abilities(domain.connect()).runs_guests
    )


def _convert(disk: Path, part: Path, cancel: Event, report: Report) -> None:
    """Copy a disk that nobody writes, with all that it stands on."""

    def tell() -> None:
        size = part.stat().st_size if part.exists() else 0
        report(10, f"copying the disk ({size // MIB} MiB)")

    argv = ["qemu-img", "convert", "-U", "-f", "qcow2", "-O", "qcow2", str(disk), str(part)]
    run(argv, CONVERT_SECONDS, cancel, tell)


def _back_up(host: Host, guest: Guest, part: Path, cancel: Event, report: Report) -> None:
    """Have QEMU copy the disk as it is now, whatever the guest writes meanwhile."""
    server_id = guest.server_id
    own = host.storage.disk(server_id, guest.fence)

    def begin(domain: Domain) -> None:
        if domain.jobStats().get("type", libvirt.VIR_DOMAIN_JOB_NONE) == _NO_JOB:
            domain.backupBegin(_backup(_target(domain, own), part), None, 0)

    host.guests.ask("begin a backup", server_id, begin)
    deadline = time.monotonic() + CONVERT_SECONDS
    while (stats := host.guests.ask("watch a backup", server_id, _running)) is not None:
        late = time.monotonic() > deadline
        if late or cancel.is_set():
            host.guests.ask("abort a backup", server_id, _abort)
            if late:
                message = f"the backup of server {server_id} took over {CONVERT_SECONDS:.0f} s"
                raise HostFault(message, code="too_slow")
            raise Cancelled(f"the snapshot of server {server_id} was cancelled")
        done, total = stats.get("disk_processed", 0), max(1, stats.get("disk_total", 1))
        report(done * 50 // total, f"copying the disk ({done // MIB} of {total // MIB} MiB)")
        cancel.wait(POLL_SECONDS)
    ended = host.guests.ask("ask how a backup ended", server_id, _ended)
    if not ended.get("success", False):
        reason = ended.get("errmsg") or "the guest ended, or libvirtd was restarted"
        raise HostFault(f"backup of server {server_id}: {reason}", code="snapshot_failed")


def _backup(target: str, part: Path) -> str:
    """What libvirt is asked for: that one disk, pushed into a file."""
    backup = ET.Element("domainbackup", mode="push")
    disks = ET.SubElement(backup, "disks")
    disk = ET.SubElement(disks, "disk", name=target, backup="yes", type="file")
    ET.SubElement(disk, "driver", type="qcow2")
    ET.SubElement(disk, "target", file=str(part))
    return ET.tostring(backup, encoding="unicode")


def _target(domain: Domain, own: Path) -> str:
    """The guest's name of its own disk: a rescued one's first is another's.

    Raises HostFault "no_disk" when the guest runs without it.
    """
    for disk in ET.fromstring(domain.XMLDesc(0)).findall("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        if source is not None and target is not None and source.get("file") == str(own):
            return target.get("dev", "")
    message = f"the guest of server {domain.UUIDString()} runs without the disk {own.name}"
    raise HostFault(message, code="no_disk", retriable=False)


_NO_JOB = libvirt.VIR_DOMAIN_JOB_NONE


def _running(domain: Domain) -> dict[str, int] | None:
    stats: dict[str, int] = domain.jobStats() if domain.isActive() else {}
    return None if stats.get("type", _NO_JOB) == _NO_JOB else stats


def _ended(domain: Domain) -> dict[str, object]:
    if not domain.isActive():
        return {}
    return dict(domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED))


def _abort(domain: Domain) -> None:
    """End the domain's job, if it has one, and wait for its end."""
    if not domain.isActive() or not abilities(domain.connect()).runs_guests:
        return
    deadline = time.monotonic() + 30.0
    while _running(domain) is not None and time.monotonic() < deadline:
        try:
            domain.abortJob()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                raise
        time.sleep(0.1)
