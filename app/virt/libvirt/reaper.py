"""Run libvirtd and collect the processes that it lets go: guests, dnsmasq. Needs nothing but
Python, and is run as a file.

libvirt's children are orphans by design, and libvirtd waits until a killed one is really gone.
Where PID 1 collects the dead late or never (containers without an init), it would wait for
seconds or minutes. So this process takes them over ("subreaper") while it lives; after it, they
go on as PID 1's. libvirtd ends when this process does, and this one with libvirtd's status.

A killed reaper is gone a moment before its libvirtd is. The next one waits for that: libvirtd
refuses to start while another holds its pid file. It also removes what the killed one had noted
of guests whose QEMU it had not: libvirtd (9.0, qemuProcessReconnectHelper) looks after none without
a pid, so such a guest would be starting for ever, and could be neither started nor ended.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
DYING_SECONDS = 10.0


def main(argv: list[str]) -> int:
    """Run `argv` until it ends; its exit status, or 128 and the signal that ended it.

    Where `argv` names a pid file with `-p`, its holder's end is waited for before, at most
    DYING_SECONDS; and the states of guests below that file's directory are looked through.
    """
    if "-p" in argv[:-1]:
        pid_file = Path(argv[argv.index("-p") + 1])
        if _wait_unlocked(pid_file):
            _forget_unborn(pid_file.parent / "qemu")
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        os.execvp(argv[0], argv)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, frame: os.kill(child, received))
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _wait_unlocked(pid_file: Path) -> bool:
    deadline = time.monotonic() + DYING_SECONDS
    while locked := _locked(pid_file):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return not locked


def _locked(pid_file: Path) -> bool:
    """Whether another process holds the record lock that libvirt takes on its pid files."""
    try:
        with pid_file.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # there is none yet; libvirtd says what it cannot do itself
    return False


def _forget_unborn(states: Path) -> None:
    for path in states.glob("*.xml"):
        try:
            state = ET.parse(path).getroot()
            if state.tag == "domstatus" and state.get("pid") == "0":
                path.unlink()
                print(f"forgot the start of {path.stem}: it had no QEMU yet", file=sys.stderr)
        except (ET.ParseError, OSError) as error:
            print(f"cannot look through {path}: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
