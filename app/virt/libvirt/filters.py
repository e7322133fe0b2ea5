"""libvirt network filters that hold guests to their own MAC and addresses.

One for each port, with the cloud's id in its name and uuid. What may reach a guest is in
`firewall_rules`: these filters see no packets that the host sends or routes.
"""

from __future__ import annotations

import ipaddress
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable

import libvirt

from app.domain.networking import GuardedPort
from app.virt.libvirt.connection import Connection, Link

_NAMESPACE = uuid.UUID("3d4f5a52-6a35-5a0f-b7a5-2f6f0b7f9b61")
_FREE, _HELD, _REST = "-900", "-800", "-700"


def filter_prefix(cloud_id: str) -> str:
    """What the names of all our filters begin with."""
    return f"nov-{cloud_id[:8]}-port-"


def filter_name(cloud_id: str, port_id: str) -> str:
    """The filter of a port."""
    return filter_prefix(cloud_id) + port_id


def filter_uuid(cloud_id: str, port_id: str) -> str:
    """Its uuid: whoever has the name and another uuid is not ours."""
    return str(uuid.uuid5(_NAMESPACE, f"{cloud_id}/{port_id}"))


def filter_xml(cloud_id: str, port: GuardedPort) -> str:
    """Only the port's MACs and addresses get out, it gives no DHCP, and there is no IPv6."""
    root = ET.Element("filter", name=filter_name(cloud_id, port.id), chain="root")
    ET.SubElement(root, "uuid").text = filter_uuid(cloud_id, port.id)
    pairs = [(port.address, port.mac), *port.pairs] if port.address else list(port.pairs)
    dhcp = {"protocol": "udp", "srcportstart": "68", "dstportstart": "67"}
    _rule(root, "drop", _FREE, "ip", protocol="udp", srcportstart="67", dstportstart="68")
    _rule(root, "accept", _HELD, "ip", srcmacaddr=port.mac, srcipaddr="0.0.0.0", **dhcp)
    _rule(root, "accept", _HELD, "arp", arpsrcmacaddr=port.mac, arpsrcipaddr="0.0.0.0")
    for address, mac in pairs:
        net = ipaddress.ip_network(str(address))
        own = {"srcipaddr": str(net[0]), "srcipmask": str(net.prefixlen)}
        _rule(root, "accept", _HELD, "ip", srcmacaddr=mac, **own)
        _rule(
            root, "accept", _HELD, "arp", srcmacaddr=mac, arpsrcmacaddr=mac,
            arpsrcipaddr=str(net[0]), arpsrcipmask=str(net.prefixlen),
        )  # fmt: skip
    _rule(root, "drop", _REST, "mac")
    _rule(root, "drop", _REST, "mac", direction="in", protocolid="ipv6")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _rule(
    root: ET.Element, action: str, priority: str, kind: str, direction: str = "out", **match: str
) -> None:
    rule = ET.SubElement(root, "rule", action=action, direction=direction, priority=priority)
    ET.SubElement(rule, kind, match)


class Filters:
    """The filters of one cloud on one libvirtd."""

    def __init__(self, connection: Connection, cloud_id: str) -> None:
        self._connection = connection
        self._cloud_id = cloud_id
        self._defined: dict[str, GuardedPort] = {}

    def define(self, ports: Iterable[GuardedPort]) -> None:
        """Have the filters of these ports as they are to be; guests that run follow at once."""
        wanted = [port for port in ports if port.secured and self._defined.get(port.id) != port]
        if not wanted:
            return

        def define(link: Link) -> None:
            for port in wanted:
                link.nwfilterDefineXML(filter_xml(self._cloud_id, port))

        self._connection.run("define network filters", define)
        self._defined |= {port.id: port for port in wanted}

    def keep(self, port_ids: Collection[str]) -> None:
        """Remove all but those of these ports; one that a guest still uses stays for now."""
        wanted = {filter_name(self._cloud_id, one) for one in port_ids}

        def remove(link: Link) -> None:
            for one in link.listAllNWFilters(0):
                if one.name() not in wanted and self._ours(one):
                    _undefine(one)

        self._connection.run("remove network filters", remove)
        self._defined = {key: port for key, port in self._defined.items() if key in port_ids}

    def _ours(self, one: libvirt.virNWFilter) -> bool:
        name, start = one.name(), filter_prefix(self._cloud_id)
        if not name.startswith(start):
            return False
        return bool(one.UUIDString() == filter_uuid(self._cloud_id, name.removeprefix(start)))


def _undefine(one: libvirt.virNWFilter) -> None:
    try:
        one.undefine()
    except libvirt.libvirtError as error:
        gone = (libvirt.VIR_ERR_NO_NWFILTER, libvirt.VIR_ERR_OPERATION_INVALID)
        if error.get_error_code() not in gone:
            raise
