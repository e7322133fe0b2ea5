"""A guest's files: disk and config drive, named by fence, and who owns them.

Files appear complete or not at all: written under a temporary name, synced, renamed. The folder
of a server holds `owner.json`, `disk-<fence>.qcow2`, `config-<fence>.iso`, the console's log and,
while it is rescued, `rescue-<fence>.qcow2`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from app.domain.message import BuildPlan
from app.errors import HostFault
from app.failpoints import Step
from app.virt.libvirt.child import run
from app.virt.libvirt.config_drive import config_drive
from app.virt.libvirt.connection import translated

QEMU_IMG_SECONDS = 120
GIB = 1024**3
_FENCED = re.compile(r"(disk|config|rescue)-(\d+)\.(?:qcow2|iso)\Z")
_SNAPSHOT = re.compile(r"\.?snapshot-(\d+)\.qcow2(?:\.part)?\Z")
_OWNER = "owner.json"
FOLDER, OVERLAY = Step("disk.folder"), Step("disk.overlay")
NAME, CONFIG_DRIVE = Step("disk.name"), Step("disk.config-drive")
RESCUE_OVERLAY, RESCUE_NAME = Step("rescue.overlay"), Step("rescue.name")


@dataclass(frozen=True)
class BaseImage:
    """A verified image in this host's cache."""

    path: Path
    disk_format: str


class Storage:
    """The files of one cloud's guests on one host."""

    def __init__(self, root: Path, cloud_id: str) -> None:
        self.root = root
        self._cloud_id = cloud_id

    def disk(self, server_id: str, fence: int) -> Path:
        """Where the root disk built at `fence` lies."""
        return self._folder(server_id) / f"disk-{fence}.qcow2"

    def config_drive(self, server_id: str, fence: int) -> Path:
        """Where the config drive built at `fence` lies."""
        return self._folder(server_id) / f"config-{fence}.iso"

    def rescue(self, server_id: str, fence: int) -> Path:
        """Where the rescue disk made at `fence` lies."""
        return self._folder(server_id) / f"rescue-{fence}.qcow2"

    def snapshot(self, server_id: str, fence: int) -> Path:
        """Where the copy of the disk made at `fence` lies until it is an image."""
        return self._folder(server_id) / f"snapshot-{fence}.qcow2"

    def drop_snapshots(self, server_id: str, below: int, older_than: float = 0.0) -> None:
        """Remove copies of the server's disk, unfinished ones too, that nobody will send any more:
        of fences under `below`, and those not written since `older_than` (Unix time)."""
        with translated("remove old snapshots", server_id):
            for fence, path in self.snapshots(server_id):
                with suppress(FileNotFoundError):
                    if fence < below or path.stat().st_mtime < older_than:
                        path.unlink()

    def snapshots(self, server_id: str) -> list[tuple[int, Path]]:
        """Copies of the server's disk that are here, unfinished ones too, with their fences."""
        paths = self._folder(server_id).glob("*snapshot-*")
        return [(int(found[1]), path) for path in paths if (found := _SNAPSHOT.match(path.name))]

    def console_log(self, server_id: str) -> Path:
        """Where the serial console is logged; older parts have `.0`, `.1` … added."""
        return self._folder(server_id) / "console.log"

    def create(
        self, plan: BuildPlan, base: BaseImage | None, cancel: threading.Event | None = None
    ) -> None:
        """Make disk and config drive of `plan` at its fence, replacing what is there.

        Raises HostFault "image_too_big", "no_disk", "foreign_files" or "disk_full"; Cancelled.
        """
        with translated("create disks", plan.server_id):
            with FOLDER:
                self._claim(plan)
            disk = self.disk(plan.server_id, plan.fence)
            _make(disk, OVERLAY, NAME, lambda path: _overlay(plan, base, path, cancel))
            drive = self.config_drive(plan.server_id, plan.fence)
            with CONFIG_DRIVE:
                _write(drive, config_drive(plan))

    def create_rescue(
        self, plan: BuildPlan, base: BaseImage | None, cancel: threading.Event | None = None
    ) -> None:
        """Make the rescue disk of `plan`, as large as its image; raises as `create` does."""
        small = replace(plan, resources=replace(plan.resources, disk_gb=0))
        with translated("create the rescue disk", plan.server_id):
            disk = self.rescue(plan.server_id, plan.fence)
            _make(
                disk, RESCUE_OVERLAY, RESCUE_NAME, lambda path: _overlay(small, base, path, cancel)
            )

    def keep_only(self, server_id: str, kinds: tuple[str, ...], fence: int) -> None:
        """Remove the server's files of these kinds ("disk", "config", "rescue") and other fences.

        No file is of the fence 0.
        """
        with translated("remove old disks", server_id):
            for path in self._folder(server_id).iterdir():
                found = _FENCED.match(path.name)
                if found and found[1] in kinds and int(found[2]) != fence:
                    path.unlink(missing_ok=True)

    def discard(self, server_id: str, kinds: tuple[str, ...], fence: int) -> None:
        """Remove the server's files of these kinds and that fence."""
        with translated("remove new disks", server_id):
            for kind in kinds:
                suffix = "iso" if kind == "config" else "qcow2"
                path = self._folder(server_id) / f"{kind}-{fence}.{suffix}"
                path.unlink(missing_ok=True)

    def remove(self, server_id: str, fence: int) -> None:
        """Remove the server's files, if they are ours. Raises HostFault "newer_fence"."""
        folder = self._folder(server_id)
        if not folder.exists() or not self._ours(folder):
            return
        self.check_fence(server_id, fence)
        with translated("remove disks", server_id):
            shutil.rmtree(folder)

    def check_fence(self, server_id: str, fence: int) -> None:
        """Raise HostFault "newer_fence" when there are files of a fence above `fence`."""
        if (known := self.newest_fence(server_id)) > fence:
            message = f"files of server {server_id} are of fence {known}, not {fence}"
            raise HostFault(message, code="newer_fence", retriable=False)

    def newest_fence(self, server_id: str) -> int:
        """The highest fence among the server's files; 0 when there are none of ours."""
        folder = self._folder(server_id)
        if not folder.is_dir() or not self._ours(folder):
            return 0
        found = [_FENCED.match(path.name) for path in folder.iterdir()]
        return max([int(match[2]) for match in found if match], default=0)

    def servers(self) -> tuple[str, ...]:
        """Servers of this cloud that have files here."""
        if not self.root.is_dir():
            return ()
        folders = [path for path in self.root.iterdir() if path.is_dir()]
        return tuple(sorted(path.name for path in folders if self._ours(path)))

    def _folder(self, server_id: str) -> Path:
        if not server_id or "/" in server_id or server_id.startswith("."):
            raise HostFault(f"no server id: {server_id!r}", code="bad_plan", retriable=False)
        return self.root / server_id

    def _claim(self, plan: BuildPlan) -> None:
        folder = self._folder(plan.server_id)
        folder.mkdir(parents=True, exist_ok=True)
        if not self._ours(folder):
            message = f"files of server {plan.server_id} here belong to another cloud"
            raise HostFault(message, code="foreign_files")
        owner = {"cloud_id": self._cloud_id, "server_id": plan.server_id}
        _write(folder / _OWNER, json.dumps(owner).encode())

    def _ours(self, folder: Path) -> bool:
        """A folder without a readable owner is of a build that was killed at once: ours."""
        try:
            owner = json.loads((folder / _OWNER).read_text())
        except (OSError, ValueError):
            return True
        return bool(owner.get("cloud_id") == self._cloud_id)


def virtual_size(base: BaseImage) -> int:
    """How big the disk in an image is, in bytes."""
    if base.disk_format == "raw":
        return base.path.stat().st_size
    argv = ["qemu-img", "info", "--output=json", "-U", "-f", base.disk_format, str(base.path)]
    return int(json.loads(run(argv, QEMU_IMG_SECONDS))["virtual-size"])


def _overlay(
    plan: BuildPlan, base: BaseImage | None, path: Path, cancel: threading.Event | None
) -> None:
    """A qcow2 of the flavor's size (0: the image's) over the base image, or an empty one."""
    size = plan.resources.disk_gb * GIB
    argv = ["qemu-img", "create", "-q", "-f", "qcow2"]
    if base is not None:
        needed = virtual_size(base)
        if size and needed > size:
            message = (
                f"the image's disk is {needed / GIB:.1f} GiB,"
                f" flavor {plan.flavor_name} has {plan.resources.disk_gb} GiB"
            )
            raise HostFault(message, code="image_too_big", retriable=False)
        size = size or needed
        argv += ["-b", str(base.path), "-F", base.disk_format]
    if not size:
        message = f"flavor {plan.flavor_name} has no disk and there is no image"
        raise HostFault(message, code="no_disk", retriable=False)
    run([*argv, str(path), str(size)], QEMU_IMG_SECONDS, cancel)


def _make(path: Path, make: Step, name: Step, write: Callable[[Path], None]) -> None:
    """Have `write` make the file under a temporary name, and then give it its own."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with make:
            write(temporary)
        with name:
            settle(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    """Write a file that only we and QEMU may read: it may hold user data."""
    temporary = path.with_name(f".{path.name}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        settle(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def settle(temporary: Path, path: Path) -> None:
    """Sync a finished file and give it its name, so that a power cut leaves all or nothing."""
    for step in (temporary, None, path.parent):
        if step is None:
            temporary.rename(path)
            continue
        descriptor = os.open(step, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
