"""Run libvirtd and collect the processes that it lets go: guests, dnsmasq. Needs nothing but
Python, and is run as a file.

libvirt's children are orphans by design, and libvirtd waits until a killed one is really gone.
Where PID 1 collects the dead late or never (containers without an init), it would wait for
seconds or minutes. So this process takes them over ("subreaper") while it lives; after it, they
go on as PID 1's. libvirtd ends when this process does, and this one with libvirtd's status.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main(argv: list[str]) -> int:
    """Run `argv` until it ends; its exit status, or 128 and the signal that ended it."""
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
