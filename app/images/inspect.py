"""Is an uploaded file what it is said to be, and safe to give to a hypervisor?"""

from __future__ import annotations

from pathlib import Path

from oslo_utils.imageutils import format_inspector

from app.errors import Invalid, TooLarge

SUPPORTED = ("raw", "qcow2")
# A partition table makes a disk no less raw.
_SAME = {"raw": ("raw", "gpt"), "qcow2": ("qcow2",)}


def virtual_size(path: Path, disk_format: str, limit: int) -> int:
    """The size in bytes of the disk in `path`. Raises Invalid unless it really is of
    `disk_format` and refers to no other file, TooLarge when the disk is over `limit` bytes."""
    if disk_format not in SUPPORTED:
        raise Invalid(
            f"Images of format {disk_format} cannot be used here, only {', '.join(SUPPORTED)}: "
            "convert it with qemu-img",
            code="unsupported_format",
        )
    if path.stat().st_size == 0:
        raise Invalid("The image has no data.", code="empty_image")
    found = _inspected(path)
    if str(found) not in _SAME[disk_format]:
        raise Invalid(
            f"The image is said to be {disk_format}, but its content is {found}",
            code="format_mismatch",
        )
    if disk_format == "qcow2":
        _check_safety(found)
    size = int(found.virtual_size) if disk_format == "qcow2" else path.stat().st_size
    if size == 0:
        raise Invalid("The image's disk has no size.", code="empty_image")
    if size > limit:
        raise TooLarge(f"The image's disk has {size} bytes, more than the limit of {limit}.")
    return size


def _inspected(path: Path) -> format_inspector.FileInspector:
    try:
        found = format_inspector.detect_file_format(str(path))
    except format_inspector.ImageFormatError as error:
        raise Invalid(f"The image's format is not clear: {error}", code="format_unclear") from error
    if found is None:
        raise Invalid("The image's format is not known.", code="format_unclear")
    return found


def _check_safety(found: format_inspector.FileInspector) -> None:
    try:
        found.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        reasons = "; ".join(str(reason) for reason in error.failures.values())
        raise Invalid(f"The image is not safe: {reasons}", code="unsafe_image") from error
    except format_inspector.ImageFormatError as error:
        raise Invalid(f"The image is damaged: {error}", code="unsafe_image") from error
