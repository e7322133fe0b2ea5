"""Give a guest's DHCP lease back when it is destroyed.

dnsmasq does not hand out a reserved address while another MAC holds a lease on it, so without
this the next owner of the address would wait for the old lease to end.
"""

from __future__ import annotations

import logging
import os
import socket
import struct

logger = logging.getLogger(__name__)

_MAGIC = b"\x63\x82\x53\x63"
_RELEASE = bytes([53, 1, 7])
_SERVER_PORT = 67


def release(bridge: str, server: str, address: str, mac: str) -> None:
    """Send a DHCPRELEASE for `address` and `mac` to the DHCP `server` on `bridge`.

    Best effort: without the right to do so, or from another network namespace than the
    bridge's, the lease just runs out.
    """
    try:
        packet = _packet(server, address, mac)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            # dnsmasq looks at the interface that a packet came in by.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bridge.encode())
            link.sendto(packet, (server, _SERVER_PORT))
    except (OSError, ValueError) as error:
        logger.info("could not release %s of %s on %s: %s", address, mac, bridge, error)


def _packet(server: str, address: str, mac: str) -> bytes:
    """A DHCPRELEASE (RFC 2131) as from the client itself."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    header = struct.pack("!BBBB4sHH", 1, 1, len(hardware), 0, os.urandom(4), 0, 0)
    addresses = socket.inet_aton(address) + bytes(12)
    client = hardware.ljust(16, b"\0") + bytes(192)
    identifier = bytes([54, 4]) + socket.inet_aton(server)
    return header + addresses + client + _MAGIC + _RELEASE + identifier + b"\xff"
