"""What a killed libvirtd left of a network that it was starting: a bridge and a dnsmasq.

libvirt does not know them, and cannot start the network while they are there.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import struct
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from app.errors import HostFault
from app.virt.libvirt.child import run

logger = logging.getLogger(__name__)

DEFAULT_SOCKET = "/run/libvirt/libvirt-sock"
SECONDS = 10.0


def remove(uri: str, network: str, bridge: str) -> None:
    """Remove `bridge` and the dnsmasq of `network` in the network namespace of `uri`'s libvirtd.

    Call it only for a network of ours that libvirt says is inactive. Best effort.
    """
    try:
        where = namespace(uri)
        _end_dnsmasq(network, where.readlink())
        inside = ["nsenter", f"--net={where}"]
        run([*inside, "ip", "link", "delete", bridge], SECONDS)
        logger.warning("removed stale bridge %s of network %s", bridge, network)
    except (OSError, HostFault) as error:
        logger.warning("cannot remove stale bridge %s: %s", bridge, error)


def namespace(uri: str) -> Path:
    """The network namespace of `uri`'s libvirtd. Raises OSError when it does not listen."""
    return Path(f"/proc/{_pid(uri)}/ns/net")


def _pid(uri: str) -> int:
    """The libvirtd that listens on the socket of `uri`."""
    path = parse_qs(urlsplit(uri).query).get("socket", [DEFAULT_SOCKET])[0]
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(SECONDS)
        link.connect(path)
        credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("iII", credentials)[0])


def _end_dnsmasq(network: str, namespace: Path) -> None:
    mark = f"/dnsmasq/{network}.conf".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            ours = any(one.endswith(mark) for one in arguments if one.startswith(b"--conf-file="))
            if ours and (entry / "ns/net").readlink() == namespace:
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue
