"""Every POST that makes or does something: who asks, where, and with what body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from app.models import Network, Project, User
from app.store import database
from tests.integration.host_rows import add_host
from tests.integration.tenants import Tenant, furnish
from tests.integration.web_fixtures import Site
from tests.templates import PASSWORDS

V, N = "/compute/v2.1", "/network/v2.0"
ACTION = f"{V}/servers/<server_id>/action"
Asking = tuple[str, str, dict[str, Any] | None]


def user_id(name: str) -> str:
    """A user's id."""
    with database.reading() as session:
        return session.scalars(select(User.id).where(User.name == name)).one()


def image(site: Site, staged: bool = False) -> str:
    """An image of novella's, active or with staged data."""
    if not staged:
        return site.add_image()
    body = {"name": "staged", "disk_format": "raw", "container_format": "bare"}
    made = str(site.post("/image/v2/images", json=body).json["id"])
    put = site.call("PUT", f"/image/v2/images/{made}/stage", data=b"x" * 512,
                    content_type="application/octet-stream")  # fmt: skip
    assert put.status_code == 204, put.text
    return made


def private_flavor(site: Site) -> str:
    """A flavor that not all projects may use."""
    wanted = {"name": "own", "ram": 64, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": False}
    return str(site.post(f"{V}/flavors", "admin", json={"flavor": wanted}).json["flavor"]["id"])


def built(site: Site, **columns: Any) -> str:
    """A server on a host."""
    add_host("n1", 1)
    server = site.built()
    site.set_server(server, **columns)
    return server


def aggregate(site: Site) -> int:
    """An aggregate, and a host that may join it."""
    add_host("n1", 1)
    made = site.post(f"{V}/os-aggregates", "admin", json={"aggregate": {"name": "own"}})
    return int(made.json["aggregate"]["id"])


def _on_server(
    action: str, value: Any = None, user: str = "novella", **columns: Any
) -> Callable[[Site], Asking]:
    return lambda site: (user, f"{V}/servers/{built(site, **columns)}/action", {action: value})


def _of_alfa(
    asking: Callable[[Tenant], tuple[str, dict[str, Any]]], root: str
) -> Callable[[Site], Asking]:
    """What a member of a project with one of everything asks."""

    def asked(site: Site) -> Asking:
        path, given = asking(furnish(site, "alfa"))
        return "alfa-member", f"{root}/{path}", given

    return asked


def _leaving(site: Site) -> Asking:
    """A server of the group that it is asked to leave."""
    alfa = furnish(site, "alfa")
    path, group = f"{V}/servers/{alfa.things['server_id']}/action", {"name": "alfa-group"}
    added = site.post(path, "alfa-member", json={"addSecurityGroup": group})
    assert added.status_code == 202, added.text
    return "alfa-member", path, {"removeSecurityGroup": group}


def _floating(action: str) -> Callable[[Site], Asking]:
    """A floating address for a server of a network that its host leads out, or away from it."""

    def asked(site: Site) -> Asking:
        alfa = furnish(site, "alfa")
        with database.transaction() as session:
            session.get_one(Network, alfa.things["network_id"]).network_type = "nat"
        made = site.post(f"{V}/os-floating-ips", "alfa-member", json={"pool": "outside"})
        path = f"{V}/servers/{alfa.things['server_id']}/action"
        given = {"address": made.json["floating_ip"]["ip"]}
        if action == "removeFloatingIp":
            added = site.post(path, "alfa-member", json={"addFloatingIp": given})
            assert added.status_code == 202, added.text
        return "alfa-member", path, {action: given}

    return asked


ASKED: dict[str, Callable[[Site], Asking]] = {
    "/compute/v2.1/servers": lambda site: (
        "novella", f"{V}/servers",
        {"server": {"name": "vm", "flavorRef": "6", "imageRef": image(site)}},
    ),
    "/compute/v2.1/servers/<server_id>/action os-start": _on_server("os-start", vm_state="stopped"),
    "/compute/v2.1/servers/<server_id>/action os-stop": _on_server("os-stop"),
    "/compute/v2.1/servers/<server_id>/action reboot": _on_server("reboot", {"type": "HARD"}),
    "/compute/v2.1/servers/<server_id>/action lock": _on_server("lock"),
    "/compute/v2.1/servers/<server_id>/action unlock": _on_server("unlock"),
    "/compute/v2.1/servers/<server_id>/action pause": _on_server("pause"),
    "/compute/v2.1/servers/<server_id>/action unpause": _on_server("unpause", vm_state="paused"),
    "/compute/v2.1/servers/<server_id>/action suspend": _on_server("suspend"),
    "/compute/v2.1/servers/<server_id>/action resume": _on_server("resume", vm_state="suspended"),
    "/compute/v2.1/os-aggregates": lambda site: (
        "admin", f"{V}/os-aggregates", {"aggregate": {"name": "new"}},
    ),
    f"{V}/os-aggregates/<aggregate_id>/images": lambda site: (
        "admin", f"{V}/os-aggregates/{aggregate(site)}/images", {"cache": [{"id": image(site)}]},
    ),
    "/compute/v2.1/os-server-groups": lambda site: (
        "novella", f"{V}/os-server-groups",
        {"server_group": {"name": "new", "policies": ["affinity"]}},
    ),
    "/network/v2.0/networks": lambda site: (
        "novella", "/network/v2.0/networks", {"network": {"name": "new"}},
    ),
    "/network/v2.0/security-groups": lambda site: (
        "novella", "/network/v2.0/security-groups", {"security_group": {"name": "new"}},
    ),
    "/compute/v2.1/servers/<server_id>/metadata": lambda site: (
        "novella", f"{V}/servers/{built(site)}/metadata", {"metadata": {"a": "b"}},
    ),
    "/compute/v2.1/flavors": lambda site: (
        "admin", f"{V}/flavors", {"flavor": {"name": "own", "ram": 64, "vcpus": 1, "disk": 1}},
    ),
    "/compute/v2.1/flavors/<flavor_id>/action": lambda site: (
        "admin", f"{V}/flavors/{private_flavor(site)}/action",
        {"addTenantAccess": {"tenant": _project("novella")}},
    ),
    "/compute/v2.1/flavors/<flavor_id>/os-extra_specs": lambda site: (
        "admin", f"{V}/flavors/6/os-extra_specs", {"extra_specs": {"hw:cpu_policy": "shared"}},
    ),
    "/compute/v2.1/os-keypairs": lambda site: (
        "novella", f"{V}/os-keypairs", {"keypair": {"name": "mine"}},
    ),
    "/identity/v3/users": lambda site: (
        "admin", "/identity/v3/users", {"user": {"name": "new", "password": "a-password"}},
    ),
    "/identity/v3/users/<user_id>/password": lambda site: (
        "admin", f"/identity/v3/users/{user_id('admin')}/password",
        {"user": {"password": "another", "original_password": PASSWORDS["admin"]}},
    ),
    "/identity/v3/users/<user_id>/application_credentials": lambda site: (
        "novella", f"/identity/v3/users/{user_id('novella')}/application_credentials",
        {"application_credential": {"name": "robot"}},
    ),
    "/identity/v3/projects": lambda site: (
        "admin", "/identity/v3/projects", {"project": {"name": "new"}},
    ),
    "/identity/v3/roles": lambda site: ("admin", "/identity/v3/roles", {"role": {"name": "new"}}),
    "/image/v2/images": lambda site: ("novella", "/image/v2/images", {"name": "new"}),
    "/image/v2/images/<image_id>/members": lambda site: (
        "novella", f"/image/v2/images/{site.add_image()}/members", {"member": "m1"},
    ),
    "/image/v2/images/<image_id>/import": lambda site: (
        "novella", f"/image/v2/images/{image(site, staged=True)}/import",
        {"method": {"name": "glance-direct"}},
    ),
    "/image/v2/images/<image_id>/actions/deactivate": lambda site: (
        "admin", f"/image/v2/images/{image(site)}/actions/deactivate", None,
    ),
    "/image/v2/images/<image_id>/actions/reactivate": lambda site: (
        "admin", f"/image/v2/images/{image(site)}/actions/reactivate", None,
    ),
    "/v1/hosts/tokens": lambda site: ("admin", "/v1/hosts/tokens", {"minutes": 5}),
    f"{V}/images/<image_id>/metadata": lambda site: (
        "novella", f"{V}/images/{image(site)}/metadata", {"metadata": {"a": "b"}},
    ),
    f"{V}/os-aggregates/<aggregate_id>/action": lambda site: (
        "admin", f"{V}/os-aggregates/{aggregate(site)}/action", {"add_host": {"host": "n1"}},
    ),
    f"{V}/os-floating-ips": _of_alfa(lambda alfa: ("os-floating-ips", {"pool": "outside"}), V),
    f"{V}/os-security-groups": lambda site: (
        "novella", f"{V}/os-security-groups",
        {"security_group": {"name": "new", "description": "d"}},
    ),
    f"{V}/os-security-group-rules": _of_alfa(lambda alfa: (
        "os-security-group-rules",
        {"security_group_rule": {
            "parent_group_id": alfa.things["security_group_id"], "ip_protocol": "udp",
            "from_port": 1, "to_port": 2, "cidr": "10.0.0.0/8",
        }},
    ), V),
    f"{V}/os-server-external-events": lambda site: (
        "admin", f"{V}/os-server-external-events",
        {"events": [{"name": "network-changed", "server_uuid": built(site)}]},
    ),
    f"{V}/servers/<server_id>/os-interface": _of_alfa(lambda alfa: (
        f"servers/{alfa.things['server_id']}/os-interface",
        {"interfaceAttachment": {"net_id": alfa.things["network_id"]}},
    ), V),
    f"{ACTION} addSecurityGroup": _of_alfa(lambda alfa: (
        f"servers/{alfa.things['server_id']}/action",
        {"addSecurityGroup": {"name": "alfa-group"}},
    ), V),
    f"{ACTION} removeSecurityGroup": _leaving,
    f"{ACTION} addFloatingIp": _floating("addFloatingIp"),
    f"{ACTION} removeFloatingIp": _floating("removeFloatingIp"),
    f"{ACTION} createImage": _on_server("createImage", {"name": "new"}),
    f"{ACTION} createBackup": _on_server(
        "createBackup", {"name": "new", "backup_type": "daily", "rotation": 1}
    ),
    f"{ACTION} forceDelete": _on_server("forceDelete"),
    f"{ACTION} injectNetworkInfo": _on_server("injectNetworkInfo", user="admin"),
    f"{ACTION} os-resetState": _on_server("os-resetState", {"state": "active"}, user="admin"),
    f"{ACTION} rebuild": lambda site: (
        "novella", f"{V}/servers/{built(site)}/action", {"rebuild": {"imageRef": image(site)}},
    ),
    f"{ACTION} rescue": _on_server("rescue"),
    f"{ACTION} unrescue": _on_server("unrescue", vm_state="rescued"),
    f"{ACTION} trigger_crash_dump": _on_server("trigger_crash_dump"),
    f"{N}/floatingips": _of_alfa(lambda alfa: (
        "floatingips", {"floatingip": {"floating_network_id": alfa.outside}},
    ), N),
    f"{N}/ports": _of_alfa(lambda alfa: (
        "ports", {"port": {"network_id": alfa.things["network_id"]}},
    ), N),
    f"{N}/routers": lambda site: ("novella", f"{N}/routers", {"router": {"name": "new"}}),
    f"{N}/security-group-rules": _of_alfa(lambda alfa: (
        "security-group-rules",
        {"security_group_rule": {
            "security_group_id": alfa.things["security_group_id"], "direction": "egress",
            "protocol": "udp",
        }},
    ), N),
    f"{N}/subnets": _of_alfa(lambda alfa: (
        "subnets",
        {"subnet": {
            "network_id": alfa.things["network_id"], "cidr": "10.211.0.0/24", "ip_version": 4,
        }},
    ), N),
}  # fmt: skip
"""For each POST that makes or does something: who asks, the path, and the body."""


ASKS_HOST = frozenset((f"{ACTION} os-getConsoleOutput", f"{ACTION} changePassword"))
"""Their hosts answer before they do: tested where there are hosts."""

REFUSED: dict[str, Callable[[Site], Asking]] = {
    f"{ACTION} {name}": _on_server(name, value, user)
    for name, value, user in (
        ("confirmResize", None, "novella"), ("revertResize", None, "novella"),
        ("resize", {"flavorRef": "1"}, "novella"), ("migrate", None, "admin"),
        ("os-migrateLive",
         {"host": None, "block_migration": False, "disk_over_commit": False}, "admin"),
        ("evacuate", {"onSharedStorage": False}, "admin"), ("shelve", None, "novella"),
        ("shelveOffload", None, "admin"), ("unshelve", None, "novella"),
        ("restore", None, "novella"), ("resetNetwork", None, "admin"),
        ("os-getVNCConsole", {"type": "novnc"}, "novella"),
        ("os-getSPICEConsole", {"type": "spice-html5"}, "novella"),
        ("os-getRDPConsole", {"type": "rdp-html5"}, "novella"),
        ("os-getSerialConsole", {"type": "serial"}, "novella"),
    )
}  # fmt: skip
"""Actions that this cloud never does."""

VERSIONS = {
    f"{ACTION} trigger_crash_dump": "2.17",
    f"{V}/os-aggregates/<aggregate_id>/images": "2.81",
}
"""Microversions from which they are there, but for those that 2.1 has."""


def _project(name: str) -> str:
    with database.reading() as session:
        return session.scalars(select(Project.id).where(Project.name == name)).one()
