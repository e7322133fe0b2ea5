"""libvirt networks and their DHCP entries as XML: pure."""

from __future__ import annotations

import ipaddress
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from app.domain.message import Nic
from app.virt.libvirt.mark import NAMESPACE
from app.virt.libvirt.names import bridge_name, network_name, network_uuid

LEASE_MINUTES = 10
"""Short, so that an address whose release was not heard is free again soon."""
_DNSMASQ = "http://libvirt.org/schemas/network/dnsmasq/1.0"
_OWN_MAC = "02:00:00:00:00:01"


@dataclass(frozen=True)
class Entry:
    """A static DHCP entry."""

    mac: str
    address: str
    name: str

    def xml(self) -> str:
        """The entry as libvirt's network update wants it."""
        host = ET.Element("host", mac=self.mac, name=self.name, ip=self.address)
        ET.SubElement(host, "lease", expiry=str(LEASE_MINUTES), unit="minutes")
        return ET.tostring(host, encoding="unicode")

    def clashes(self, other: Entry) -> bool:
        """Whether libvirt would refuse to have both."""
        return (
            self.mac.lower() == other.mac.lower()
            or self.address == other.address
            or self.name == other.name
        )


def network_xml(cloud_id: str, nic: Nic) -> str:
    """The network that `nic` is in: one that libvirt leads out by NAT, or an open one, of which
    our own rules say where it leads. (A `nat` one without a gateway is isolated.)"""
    subnet = ipaddress.IPv4Network(nic.cidr)
    address = nic.host_address or nic.gateway or str(subnet.network_address + 1)
    network = ET.Element("network")
    ET.SubElement(network, "name").text = network_name(cloud_id, nic.bridge)
    ET.SubElement(network, "uuid").text = network_uuid(cloud_id, nic.bridge)
    metadata = ET.SubElement(network, "metadata")
    marks = {"cloud": cloud_id, "network": nic.network_id}
    ET.SubElement(metadata, f"{{{NAMESPACE}}}network", marks)
    if not nic.nat:
        ET.SubElement(network, "forward", mode="open")
    elif nic.gateway:
        ET.SubElement(network, "forward", mode="nat")
    bridge = bridge_name(cloud_id, nic.bridge)
    ET.SubElement(network, "bridge", name=bridge, stp="off", delay="0")
    ET.SubElement(network, "mtu", size=str(nic.mtu))
    if nic.dns:
        dns = ET.SubElement(network, "dns")
        for server in nic.dns:
            ET.SubElement(dns, "forwarder", addr=server)
    ip = ET.SubElement(network, "ip", address=address, prefix=str(subnet.prefixlen))
    if nic.dhcp:
        # With an entry from the start, and always one left, dnsmasq need never be restarted.
        ET.SubElement(ET.SubElement(ip, "dhcp"), "host", mac=_OWN_MAC, name="gateway", ip=address)
        _options(network, nic)
    ET.indent(network)
    return ET.tostring(network, encoding="unicode") + "\n"


def _options(network: ET.Element, nic: Nic) -> None:
    """What DHCP tells besides: routes, or that there is no way out."""
    options = []
    if nic.gateway is None and not nic.nat:
        options.append("dhcp-option=3")
    if nic.routes:
        every = [*nic.routes, *([("0.0.0.0/0", nic.gateway)] if nic.gateway else [])]
        options.append("dhcp-option=121," + ",".join(f"{to},{by}" for to, by in every))
    if options:
        parent = ET.SubElement(network, f"{{{_DNSMASQ}}}options")
        for option in options:
            ET.SubElement(parent, f"{{{_DNSMASQ}}}option", value=option)


def owner(xml: str) -> str | None:
    """The cloud id that a network's XML bears, or None."""
    mark = ET.fromstring(xml).find(f"metadata/{{{NAMESPACE}}}network")
    return None if mark is None else mark.get("cloud")


def is_open(xml: str) -> bool:
    """Whether our own rules say where a network leads."""
    forward = ET.fromstring(xml).find("forward")
    return forward is not None and forward.get("mode") == "open"


def entries(xml: str) -> list[Entry]:
    """The static DHCP entries of a network's XML."""
    return [
        Entry(host.get("mac", ""), host.get("ip", ""), host.get("name", ""))
        for host in ET.fromstring(xml).findall("ip/dhcp/host")
    ]


def bridge_address(xml: str) -> tuple[str, str]:
    """The bridge's name and its own address; empty strings when the XML has none."""
    root = ET.fromstring(xml)
    bridge, address = root.find("bridge"), root.find("ip")
    return (
        "" if bridge is None else bridge.get("name", ""),
        "" if address is None else address.get("address", ""),
    )
