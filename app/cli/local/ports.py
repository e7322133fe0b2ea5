"""Loopback ports: which are free, and who holds one that is not."""

from __future__ import annotations

import random
import socket
import time
from pathlib import Path

import psutil

from app.errors import Conflict
from app.redaction import redact_text

OURS_SECONDS = 30.0
LOWEST = 20_000
TRIES = 100
_CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A TCP port on loopback that nobody uses now; one of `lasting()`, unless all are in use."""
    some = random.sample(lasting(), min(TRIES, len(lasting())))
    for port in some:
        if is_free("127.0.0.1", port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lasting() -> range:
    """Ports that a server finds free again when it comes back: those from LOWEST on which the
    kernel gives to no client. Of the others, any connection may take one meanwhile; even one to
    the very server that is down, which then meets itself. Empty where clients get all of them.
    """
    try:
        first = int(_CLIENTS.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 32_768  # Linux's own
    return range(LOWEST, max(LOWEST, first))


def is_free(address: str, port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def require_free(address: str, port: int, setting: str, config: Path) -> None:
    """Raises Conflict, which names the port's holder and the setting to change, when taken.

    A process that reads the settings file `config` is a dying one of ours, and waited for.
    """
    deadline = time.monotonic() + OURS_SECONDS
    while not is_free(address, port):
        holder = _holder(port)
        if not _reads(holder, config) or time.monotonic() > deadline:
            what = _describe(holder)
            raise Conflict(f"port {port} of {address} is taken {what}: set {setting} to another")
        time.sleep(0.2)


def _holder(port: int) -> psutil.Process | None:
    try:
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid:
                return psutil.Process(one.pid)
    except (psutil.Error, OSError):
        pass  # not ours to see; the caller says so
    return None


def _reads(holder: psutil.Process | None, config: Path) -> bool:
    try:
        return holder is not None and holder.environ().get("NOVELLA_CONFIG") == str(config)
    except (psutil.Error, OSError):
        return False


def _describe(holder: psutil.Process | None) -> str:
    if holder is None:
        return "(by a process that this user may not see)"
    try:
        command = " ".join(" ".join(holder.cmdline()).split())  # on one line
    except psutil.Error:
        return f"by process {holder.pid}"
    return f"by process {holder.pid} ({redact_text(command[:100])})"
