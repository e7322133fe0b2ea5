"""QEMU processes of ours that libvirtd does not know.

When libvirtd is killed in the moment between starting QEMU and noting it, the process stays: it
never ran a guest instruction (libvirt starts QEMU halted), but holds the lock of its disk, so
that the guest could not be started again.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

logger = logging.getLogger(__name__)

END_SECONDS = 5.0


def end_orphans(domain_name: str) -> None:
    """Kill the QEMUs of that name. Call it only when libvirt says that the domain is inactive, or
    hangs in a start that its last life began."""
    mark = b"guest=" + domain_name.encode() + b","
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(argument.startswith(mark) for argument in arguments):
            logger.warning("ending an orphaned QEMU of %s (%s)", domain_name, entry.name)
            _end(int(entry.name))


def _end(pid: int) -> None:
    deadline = time.monotonic() + END_SECONDS
    try:
        os.kill(pid, signal.SIGKILL)
        # A zombie has no arguments any more, and holds no lock.
        while time.monotonic() < deadline and Path(f"/proc/{pid}/cmdline").read_bytes():
            time.sleep(0.02)
    except (ProcessLookupError, FileNotFoundError):
        return
    except PermissionError as error:
        logger.warning("cannot end the orphaned QEMU %d: %s", pid, error)
