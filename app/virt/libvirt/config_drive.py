"""The config drive: an ISO 9660 image that cloud-init reads as OpenStack's (and EC2's) metadata."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import os
from io import BytesIO
from typing import Any

import pycdlib

from app.domain.message import BuildPlan, Nic
from app.errors import HostFault

LABEL = "config-2"
VERSIONS = ("2018-08-27", "latest")


def config_drive(plan: BuildPlan) -> bytes:
    """The ISO image (Joliet and Rock Ridge) for the guest of `plan`."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
    folders: set[str] = set()
    for number, (path, content) in enumerate(sorted(files(plan).items())):
        folder, _, name = path.rpartition("/")
        _add_folder(iso, folder, folders)
        iso.add_fp(
            BytesIO(content),
            len(content),
            f"{_short(folder)}/F{number:07}.;1",
            rr_name=name,
            joliet_path=f"/{path}",
        )
    image = BytesIO()
    iso.write_fp(image)
    iso.close()
    return image.getvalue()


def files(plan: BuildPlan) -> dict[str, bytes]:
    """What lies on the drive: content by path. Raises HostFault "bad_user_data"."""
    user_data = _user_data(plan)
    openstack = {
        "meta_data.json": _json({**meta_data(plan), "random_seed": _seed()}),
        "network_data.json": _json(network_data(plan)),
        "vendor_data.json": _json({}),
        "vendor_data2.json": _json({}),
    }
    ec2 = {"meta-data.json": _json(ec2_data(plan))}
    if user_data is not None:
        openstack["user_data"] = user_data
        ec2["user-data"] = user_data
    found = {f"ec2/latest/{name}": content for name, content in ec2.items()}
    for version in VERSIONS:
        found |= {f"openstack/{version}/{name}": content for name, content in openstack.items()}
    for number, path in enumerate(sorted(plan.files)):
        found[f"openstack{_content_path(number)}"] = base64.b64decode(plan.files[path])
    return found


def _content_path(number: int) -> str:
    return f"/content/{number:04}"


def meta_data(plan: BuildPlan) -> dict[str, Any]:
    """Nova's `meta_data.json`, but for the random seed."""
    data: dict[str, Any] = {
        "uuid": plan.server_id,
        "name": plan.name,
        "hostname": plan.hostname,
        "availability_zone": plan.availability_zone,
        "launch_index": plan.launch_index,
        "project_id": plan.project_id,
        "meta": plan.metadata,
        "devices": [
            {"type": "nic", "bus": "none", "address": "none", "mac": nic.mac, "tags": [nic.tag]}
            for nic in plan.nics
            if nic.tag
        ],
    }
    if plan.files:
        data["files"] = [
            {"path": path, "content_path": _content_path(number)}
            for number, path in enumerate(sorted(plan.files))
        ]
    if plan.public_key:
        name = plan.key_name or "key"
        data["public_keys"] = {name: plan.public_key}
        data["keys"] = [{"name": name, "type": "ssh", "data": plan.public_key}]
    return data


def network_data(plan: BuildPlan) -> dict[str, Any]:
    """Nova's `network_data.json`; addresses come by DHCP where a subnet has it."""
    links, networks, services = [], [], []
    for number, nic in enumerate(plan.nics):
        link = f"tap{nic.port_id[:11]}"
        links.append(
            {
                "id": link,
                "vif_id": nic.port_id,
                "type": "bridge",
                "mtu": nic.mtu,
                "ethernet_mac_address": nic.mac,
            }
        )
        networks.append(_network(number, link, nic))
        services += [{"type": "dns", "address": server} for server in nic.dns]
    return {"links": links, "networks": networks, "services": services}


def _network(number: int, link: str, nic: Nic) -> dict[str, Any]:
    """One address; without DHCP also what leads where, for the guest has nobody to ask."""
    shown: dict[str, Any] = {
        "id": f"network{number}",
        "type": "ipv4_dhcp" if nic.dhcp else "ipv4",
        "link": link,
        "network_id": nic.network_id,
        "ip_address": nic.address,
        "netmask": str(ipaddress.IPv4Network(nic.cidr).netmask),
    }
    if not nic.dhcp:
        routes = [*([("0.0.0.0/0", nic.gateway)] if nic.gateway else []), *nic.routes]
        nets = [(ipaddress.IPv4Network(to), by) for to, by in routes]
        shown["routes"] = [
            {"network": str(net[0]), "netmask": str(net.netmask), "gateway": by} for net, by in nets
        ]
    return shown


def ec2_data(plan: BuildPlan) -> dict[str, Any]:
    """EC2's metadata, for guests that know no other."""
    data: dict[str, Any] = {
        "instance-id": plan.server_id,
        "hostname": plan.hostname,
        "local-hostname": plan.hostname,
        "public-hostname": plan.hostname,
        "instance-type": plan.flavor_name,
        "ami-launch-index": plan.launch_index,
        "reservation-id": plan.reservation_id,
        "placement": {"availability-zone": plan.availability_zone},
        "local-ipv4": plan.nics[0].address if plan.nics else "",
    }
    if plan.public_key:
        name = plan.key_name or "key"
        data["public-keys"] = {"0": {"_name": f"0={name}", "openssh-key": plan.public_key}}
    return data


def _user_data(plan: BuildPlan) -> bytes | None:
    if not plan.user_data:
        return None
    try:
        return base64.b64decode(plan.user_data, validate=False)
    except binascii.Error as error:
        message = f"user_data of server {plan.server_id} is not base64"
        raise HostFault(message, code="bad_user_data", retriable=False) from error


def _seed() -> str:
    return base64.b64encode(os.urandom(512)).decode()


def _json(data: Any) -> bytes:
    return json.dumps(data).encode()


def _add_folder(iso: Any, folder: str, known: set[str]) -> None:
    """Make `folder` and those above it."""
    if not folder or folder in known:
        return
    parent, _, name = folder.rpartition("/")
    _add_folder(iso, parent, known)
    iso.add_directory(_short(folder), rr_name=name, joliet_path=f"/{folder}")
    known.add(folder)


def _short(folder: str) -> str:
    """The ISO 9660 path of a folder: capitals and digits only; Rock Ridge has the real names."""
    parts = [part.upper().replace("-", "") for part in folder.split("/") if part]
    return "".join(f"/{part}" for part in parts)
