"""From the bodies of Network's requests to rows' values: what no schema can check."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from app.domain.security_groups import ICMP, PROTOCOLS, WITH_PORTS
from app.errors import Invalid
from app.models import SecurityRule, Subnet
from app.store.addresses import ANY, Wanted
from app.store.network_changes import Pool, default_pools, in_pools
from app.web.body import is_true

_BODY = "Invalid input for field "
MAX_PREFIX = 29
SPECIAL = tuple(
    ipaddress.IPv4Network(one)
    for one in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
)
"""This network, loopback, link-local (metadata), multicast and reserved: nobody's subnets."""


def cidr(field: str, text: str) -> ipaddress.IPv4Network:
    """The IPv4 network in a field. Raises Invalid."""
    try:
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError as error:
        raise Invalid(f"{_BODY}{field}: not an IPv4 network, as 10.0.0.0/24") from error


def address(field: str, text: str) -> str:
    """The IPv4 address in a field, in its only form. Raises Invalid."""
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise Invalid(f"{_BODY}{field}: not an IPv4 address") from error


def new_subnet(given: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a new subnet."""
    net = cidr("subnet.cidr", given["cidr"])
    _usable(net)
    gateway: str | None = str(net[1])
    if "gateway_ip" in given:
        gateway = _gateway(net, given["gateway_ip"])
    # Without a gateway the hosts' bridges have the first address.
    reserved = gateway or str(net[1])
    if "allocation_pools" in given:
        ranges = pools(net, given["allocation_pools"], gateway)
    else:
        ranges = default_pools(net, reserved)
    return {
        "network_id": given["network_id"],
        "name": given.get("name", ""),
        "description": given.get("description", ""),
        "cidr": str(net),
        "gateway_ip": gateway,
        "host_address": None if gateway else str(net[1]),
        "enable_dhcp": True,
        **_stored(ranges),
        **_extras(net, given),
    }


def _usable(net: ipaddress.IPv4Network) -> None:
    if net.prefixlen > MAX_PREFIX or net.prefixlen < 8:
        raise Invalid(f"{_BODY}subnet.cidr: from /8 to /{MAX_PREFIX}, for guests need room")
    for special in SPECIAL:
        if net.overlaps(special):
            raise Invalid(f"{_BODY}subnet.cidr: not a network that guests can be in: {special}")


def check_for_tenants(net: str, allowed: Sequence[ipaddress.IPv4Network]) -> None:
    """Raises Invalid unless the subnet is in a range that projects may use: hosts route what is
    anybody's subnet to its bridge, their own traffic included."""
    if not any(ipaddress.IPv4Network(net).subnet_of(one) for one in allowed):
        raise Invalid(
            f"{_BODY}subnet.cidr: {net} is in none of the ranges that projects may use, "
            f"{', '.join(map(str, allowed)) or 'of which there are none'}: the setting "
            "tenant_subnets; administrators may use others",
            code="InvalidInput",
        )


def subnet_changes(row: Subnet, given: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a change of a subnet sets."""
    net = ipaddress.IPv4Network(row.cidr)
    values = {name: given[name] for name in ("name", "description") if name in given}
    gateway = row.gateway_ip
    if "gateway_ip" in given:
        gateway = values["gateway_ip"] = _gateway(net, given["gateway_ip"])
        if gateway and gateway != row.gateway_ip and in_pools(row.pools, gateway):
            raise Invalid(
                f"Gateway ip {gateway} conflicts with an allocation pool", code="Conflict"
            )
    if "allocation_pools" in given:
        values |= _stored(pools(net, given["allocation_pools"], gateway))
    return values | _extras(net, given)


def _gateway(net: ipaddress.IPv4Network, given: str | None) -> str | None:
    if given is None or given == "":
        return None
    found = address("subnet.gateway_ip", given)
    if ipaddress.IPv4Address(found) not in net or found in (str(net[0]), str(net[-1])):
        raise Invalid(f"{_BODY}subnet.gateway_ip: not an address for a host of {net}")
    return found


def pools(
    net: ipaddress.IPv4Network, given: Sequence[Mapping[str, str]], gateway: str | None
) -> list[Pool]:
    """Checked ranges: in the network, apart from each other and from the gateway."""
    field = "subnet.allocation_pools"
    found: list[Pool] = []
    for one in given:
        start, end = (address(f"{field}.{name}", one[name]) for name in ("start", "end"))
        low, high = ipaddress.IPv4Address(start), ipaddress.IPv4Address(end)
        if low > high or low <= net[0] or high >= net[-1]:
            raise Invalid(
                f"The allocation pool {start}-{end} is not valid: from {net[1]} to {net[-2]}"
            )
        found.append({"start": start, "end": end})
    for one, two in combinations(found, 2):
        if in_pools([one], two["start"]) or in_pools([two], one["start"]):
            raise Invalid(f"Found overlapping allocation pools for subnet {net}")
    if gateway and in_pools(found, gateway):
        raise Invalid(f"Gateway ip {gateway} conflicts with an allocation pool")
    return found


def _stored(ranges: list[Pool]) -> dict[str, Any]:
    first, *more = ranges
    return {
        "pool_start": first["start"],
        "pool_end": first["end"],
        "more_pools": more,
        "next_offset": 0,
    }


def _extras(net: ipaddress.IPv4Network, given: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if "dns_nameservers" in given:
        values["dns"] = [address("subnet.dns_nameservers", one) for one in given["dns_nameservers"]]
    if "host_routes" in given:
        values["host_routes"] = routes("subnet.host_routes", given["host_routes"])
    if "enable_dhcp" in given:
        values["enable_dhcp"] = is_true(given["enable_dhcp"])
    return values


def routes(field: str, given: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Checked routes."""
    return [
        {
            "destination": str(cidr(f"{field}.destination", one["destination"])),
            "nexthop": address(f"{field}.nexthop", one["nexthop"]),
        }
        for one in given
    ]


def wanted_address(given: Mapping[str, Any]) -> Wanted | None:
    """What `fixed_ips` asks for: any address when it is not there, None for an empty list."""
    if "fixed_ips" not in given:
        return ANY
    if not given["fixed_ips"]:
        return None
    if len(given["fixed_ips"]) > 1:
        raise Invalid(
            f"{_BODY}port.fixed_ips: a port has one address here; Exceeded maximum amount of "
            "fixed ips per port.",
            code="InvalidInput",
        )
    (one,) = given["fixed_ips"]
    chosen = one.get("ip_address")
    found = address("port.fixed_ips.ip_address", chosen) if chosen is not None else None
    return Wanted(found, one.get("subnet_id"))


def mac(text: str) -> str:
    """A MAC address that an interface can have. Raises Invalid."""
    if int(text[:2], 16) & 1 or text == "00:00:00:00:00:00":
        raise Invalid(f"{_BODY}port.mac_address: not the address of one interface")
    return text.lower()


def pairs(given: Sequence[Mapping[str, str]], own: str) -> list[dict[str, str]]:
    """What a port may use besides its own address and MAC `own`."""
    found = []
    for one in given:
        net = cidr("port.allowed_address_pairs.ip_address", one["ip_address"])
        plain = str(net[0]) if net.prefixlen == 32 else str(net)
        found.append({"ip_address": plain, "mac_address": mac(one.get("mac_address", own))})
    if len({(one["ip_address"], one["mac_address"]) for one in found}) < len(found):
        raise Invalid(f"{_BODY}port.allowed_address_pairs: has the same pair twice")
    return found


def rule(given: Mapping[str, Any]) -> SecurityRule:
    """A checked rule, of the group that it names."""
    ethertype = {"ipv4": "IPv4", "ipv6": "IPv6"}[given.get("ethertype", "IPv4").lower()]
    protocol = _protocol(given.get("protocol"))
    low, high = (
        None if given.get(name) is None else int(given[name])
        for name in ("port_range_min", "port_range_max")
    )
    low, high = _ports(protocol, low, high)
    remote = given.get("remote_ip_prefix")
    if remote is not None and given.get("remote_group_id") is not None:
        raise Invalid(
            "Only remote_ip_prefix or remote_group_id may be provided.",
            code="SecurityGroupMultipleRemoteEntites",
        )
    return SecurityRule(
        group_id=given["security_group_id"],
        direction=given["direction"],
        ethertype=ethertype,
        protocol=protocol,
        port_min=low,
        port_max=high,
        remote_ip=None if remote is None else _prefix(remote, ethertype),
        remote_group_id=given.get("remote_group_id"),
        description=given.get("description", ""),
    )


def _protocol(given: Any) -> str | None:
    text = "" if given is None else str(given).lower()
    if text in ("", "any", "-1"):
        return None
    if text in PROTOCOLS:
        return text
    if text.isascii() and text.isdigit() and int(text) <= 255:
        names = {number: name for name, number in reversed(PROTOCOLS.items())}
        return names.get(int(text), text) if int(text) else None
    raise Invalid(
        f"{_BODY}security_group_rule.protocol: a number to 255, or one of "
        f"{', '.join(sorted(PROTOCOLS))}",
        code="SecurityGroupRuleInvalidProtocol",
    )


def _ports(
    protocol: str | None, low: int | None, high: int | None
) -> tuple[int | None, int | None]:
    field = "security_group_rule.port_range_min"
    if low is None and high is None:
        return None, None
    if protocol in ICMP:
        if low is None or low > 255 or (high or 0) > 255:
            raise Invalid(f"{_BODY}{field}: an ICMP type and code are from 0 to 255")
        return low, high
    if protocol not in WITH_PORTS:
        raise Invalid(
            f"{_BODY}{field}: ports go with the protocols {', '.join(WITH_PORTS)} and icmp",
            code="SecurityGroupProtocolRequiredWithPorts",
        )
    if low is None or high is None or low > high or low < 1:
        raise Invalid(
            "For TCP/UDP protocols, port_range_min must be <= port_range_max, both from 1 to 65535",
            code="SecurityGroupInvalidPortRange",
        )
    return low, high


def _prefix(text: str, ethertype: str) -> str:
    """As it was given, with the bits of an address in it: hosts get its network."""
    try:
        net = ipaddress.ip_interface(text)
    except ValueError as error:
        raise Invalid(f"{_BODY}security_group_rule.remote_ip_prefix: not a network") from error
    if net.version != int(ethertype[-1]):
        raise Invalid(
            f"Conflicting value ethertype {ethertype} for CIDR {net}",
            code="SecurityGroupRuleParameterConflict",
        )
    return str(net)
