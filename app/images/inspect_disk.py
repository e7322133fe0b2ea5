"""What a disk image is, whatever its owner says: a lie here would read files of the host."""

from __future__ import annotations

from pathlib import Path

from oslo_utils.imageutils import format_inspector

from app.errors import HostFault

_RAW = ("raw", "gpt", "iso")
"""What a raw disk may look like."""


def check_format(path: Path, disk_format: str, image_id: str) -> None:
    """Raise HostFault "image_format", not retriable, unless the file is a safe `disk_format`.

    Safe means, for qcow2, without a backing file, an external data file or unknown features.
    """
    try:
        inspector = format_inspector.detect_file_format(str(path))
        found = str(inspector)
        if inspector is not None and found == disk_format == "qcow2":
            inspector.safety_check()
            return
    except (format_inspector.ImageFormatError, format_inspector.SafetyCheckFailed) as error:
        raise _fault(image_id, f"is not a safe {disk_format}: {error}") from error
    if disk_format != "raw" or found not in _RAW:
        raise _fault(image_id, f"is {found}, not {disk_format}")


def _fault(image_id: str, what: str) -> HostFault:
    return HostFault(f"image {image_id} {what}", code="image_format", retriable=False)
