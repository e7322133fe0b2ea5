"""Two projects, each with users of every role and one of everything that a project can own."""

from __future__ import annotations

import copy
import logging
import secrets
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import select

from app import models
from app.models import Base
from app.store import database
from tests import templates
from tests.integration.web_fixtures import Site, seeded_database, site, untouched
from tests.routes import Endpoint

__all__ = ["seeded_database", "site"]
PASSWORD = "one-for-all"
ROLES = ("admin", "manager", "member", "reader", "service", "none")

CLOUDS_OWN = {
    "alias": "quotas",
    "domain_id": "default",
    "role_id": "role",
    "service_id": "compute",
    "endpoint_id": "compute",
    "region_id": "RegionOne",
    "hypervisor_id": "1",
    "aggregate_id": "1",
    "pattern": "made-up",
    "agent_id": str(uuid.UUID(int=1)),
    "host_name": "made-up",
    "class_name": "default",
    "before": "2026-01-02 03:04:05",
    "migration_id": "1",
    "volume_id": str(uuid.UUID(int=1)),
}
"""Path arguments that are no project's, with a value for each."""


@dataclass
class Tenant:
    """A project; `things` has what is its own, by the name that routes give to such a thing."""

    name: str
    project_id: str
    tokens: dict[str, str] = field(default_factory=dict)
    things: dict[str, str] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    outside: str = ""

    def values(self, endpoint: Endpoint) -> dict[str, str]:
        """The endpoint's arguments with this project's things. Raises for one nobody knows."""
        found = {name: self._value(endpoint, name) for name in endpoint.arguments}
        missing = [name for name, value in found.items() if value is None]
        assert not missing, (
            f"{endpoint}: nobody told tests/integration/tenants.py what {missing} are: add a "
            "thing of a project's to `furnish`, or to CLOUDS_OWN what is nobody's"
        )
        return {name: str(value) for name, value in found.items()}

    def _value(self, endpoint: Endpoint, name: str) -> str | None:
        before = endpoint.path.split(f"/<{name}>")[0].rsplit("/", 1)[-1]
        for key in (f"{before}/{name}", name):
            if key in self.things:
                return self.things[key]
        return CLOUDS_OWN.get(name)

    def owned(self, endpoint: Endpoint) -> list[str]:
        """Which of the endpoint's arguments name something of a project's."""
        return [name for name in endpoint.arguments if name not in CLOUDS_OWN]


def unknown(value: str) -> str:
    """An id or name of the same form as `value` that exists nowhere."""
    if value.startswith("req-"):
        return f"req-{uuid.uuid4()}"
    if len(value) == 36 and value.count("-") == 4:
        return str(uuid.uuid4())
    if len(value) == 32 and all(letter in "0123456789abcdef" for letter in value):
        return uuid.uuid4().hex
    return "z" + secrets.token_hex(len(value))[: len(value) - 1]


@pytest.fixture
def quiet() -> Iterator[None]:
    """No log: thousands of requests would write more than they do."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture
def tenants(site: Site, quiet: None) -> tuple[Tenant, Tenant]:
    """The projects alfa and bravo; in a site as it was made, copies of those made first."""
    if not untouched(site):
        return furnish(site, "alfa"), furnish(site, "bravo")
    database.engine().dispose()
    kept = _furnished.get("kept")
    if kept is None or kept.made < time.monotonic() - COPIES_SECONDS:
        pair = furnish(site, "alfa"), furnish(site, "bravo")
        database.engine().dispose()
        place = templates.directory() / f"furnished-{uuid.uuid4()}"
        shutil.copytree(site.directory, place)
        _furnished["kept"] = Furnished(place, copy.deepcopy(pair), dict(site.tokens))
        return pair
    shutil.copytree(kept.place, site.directory, dirs_exist_ok=True)
    site.tokens |= kept.tokens
    return copy.deepcopy(kept.tenants)


@dataclass
class Furnished:
    """A directory of a site with both projects, and what is known of them."""

    place: Path
    tenants: tuple[Tenant, Tenant]
    tokens: dict[str, str]
    made: float = field(default_factory=time.monotonic)


_furnished: dict[str, Furnished] = {}
COPIES_SECONDS = 900.0
"""For so long copies are taken of the same: the tokens in it are good for an hour."""


def furnish(site: Site, name: str) -> Tenant:
    """A project with users of all roles, and with one of everything."""
    tenant = Tenant(name, uuid.uuid4().hex)
    _people(tenant)
    for role in ROLES:
        user = f"{name}-{role}"
        answer = _unscoped(site, user) if role == "none" else site.log_in(user, PASSWORD, name)
        assert answer.status_code == 201, answer.text
        tenant.tokens[role] = answer.headers["X-Subject-Token"]
    site.tokens |= {f"{name}-{role}": token for role, token in tenant.tokens.items()}
    _rows(tenant)
    _made_over_http(site, tenant)
    tenant.secrets = {value for value in tenant.things.values() if len(value) > 4}
    return tenant


def _unscoped(site: Site, user: str) -> Any:
    who = {"name": user, "domain": {"id": "default"}, "password": PASSWORD}
    identity_part = {"methods": ["password"], "password": {"user": who}}
    body = {"auth": {"identity": identity_part, "scope": "unscoped"}}
    return site.client.post("/identity/v3/auth/tokens", json=body)


def _people(tenant: Tenant) -> None:
    with database.transaction() as session:
        session.add(models.Project(id=tenant.project_id, name=tenant.name))
        roles = {role.name: role.id for role in session.scalars(select(models.Role))}
        for role in ROLES:
            user = models.User(
                id=uuid.uuid4().hex,
                name=f"{tenant.name}-{role}",
                password_hash=templates.quick_hash(PASSWORD),
            )
            session.add(user)
            tenant.things[f"user of {role}"] = user.id
            tenant.things[f"name of {role}"] = user.name
            if role != "none":
                assigned = {"scope": "project", "target_id": tenant.project_id}
                session.add(models.RoleAssignment(user_id=user.id, role_id=roles[role], **assigned))
    tenant.things |= {
        "project_id": tenant.project_id,
        "project name": tenant.name,
        "credential name": f"{tenant.name}-credential",
        "user_id": tenant.things["user of member"],
    }


def _rows(tenant: Tenant) -> None:
    """What no request makes yet: a network, its subnet, a private flavor, a host."""
    number = 1 + len(tenant.name)
    with database.transaction() as session:
        network = models.Network(project_id=tenant.project_id, name=f"{tenant.name}-network")
        flavor = models.Flavor(
            id=f"{tenant.name}-flavor-id", name=f"{tenant.name}-flavor", vcpus=1, ram_mb=64,
            disk_gb=1, is_public=False, extra_specs={f"{tenant.name}:spec": f"{tenant.name}-spec"},
        )  # fmt: skip
        session.add_all([network, flavor])
        session.flush()
        access = models.FlavorAccess(flavor_id=flavor.id, project_id=tenant.project_id)
        net = f"10.{number + 60}.0"
        subnet = models.Subnet(
            network_id=network.id, project_id=tenant.project_id, name=f"{tenant.name}-subnet",
            cidr=f"{net}.0/24", gateway_ip=f"{net}.1", pool_start=f"{net}.2", pool_end=f"{net}.9",
        )  # fmt: skip
        session.add_all([access, subnet])
        session.flush()
        tenant.things |= {
            "network_id": network.id, "subnet_id": subnet.id, "flavor_id": flavor.id,
            "network name": network.name, "subnet name": subnet.name, "flavor name": flavor.name,
            "os-extra_specs/key": f"{tenant.name}:spec", "cidr": subnet.cidr,
            "ips/network": network.name,
        }  # fmt: skip


def public_key() -> str:
    """A new one, as OpenSSH writes it."""
    key = Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _made_over_http(site: Site, tenant: Tenant) -> None:
    """An image, a key, an application credential, a server group, and a server in it with port,
    metadata and tag."""
    name, user = tenant.name, f"{tenant.name}-member"
    image = site.add_image(user, name=f"{name}-image", visibility="shared", tags=[f"{name}-tag"])
    member = uuid.uuid4().hex
    shared = site.post(f"/image/v2/images/{image}/members", user, json={"member": member})
    assert shared.status_code == 200, shared.text
    key = {"keypair": {"name": f"{name}-key", "public_key": public_key()}}
    answer = site.post("/compute/v2.1/os-keypairs", user, json=key)
    assert answer.status_code < 300, answer.text
    body = {
        "name": f"{name}-server", "flavorRef": tenant.things["flavor_id"], "imageRef": image,
        "networks": [{"uuid": tenant.things["network_id"]}], "key_name": f"{name}-key",
        "metadata": {f"{name}-meta": f"{name}-value"},
    }  # fmt: skip
    about = {"server_group": {"name": f"{name}-group", "policies": ["affinity"]}}
    group = site.post("/compute/v2.1/os-server-groups", user, json=about).json["server_group"]["id"]
    hinted = {"server": body, "os:scheduler_hints": {"group": group}}
    made = site.post("/compute/v2.1/servers", user, json=hinted)
    assert made.status_code == 202, made.text
    server = made.json["server"]["id"]
    _networking(site, tenant)
    credential = site.post(
        f"/identity/v3/users/{tenant.things['user_id']}/application_credentials",
        user,
        json={"application_credential": {"name": f"{name}-credential"}},
    )
    assert credential.status_code == 201, credential.text
    tenant.things |= {
        "image_id": image, "server_id": server, "group_id": group, "image name": f"{name}-image",
        "server name": f"{name}-server", "name": f"{name}-key", "key": f"{name}-meta",
        "metadata value": f"{name}-value", "tag": f"{name}-tag",
        "task_id": made.headers["X-Task-Id"], "request_id": made.headers["x-openstack-request-id"],
        "member_id": member,
        "credential_id": credential.json["application_credential"]["id"],
    }  # fmt: skip
    _settle(site, tenant, server)


def _networking(site: Site, tenant: Tenant) -> None:
    """A security group with a rule, a router, and an address of the operator's outer network."""
    name, user = tenant.name, f"{tenant.name}-member"
    base = "/network/v2.0"
    outside = tenant.outside = _outside()

    def made(kind: str, noun: str, body: dict[str, Any]) -> str:
        answer = site.post(f"{base}/{kind}", user, json={noun: body})
        assert answer.status_code == 201, answer.text
        return str(answer.json[noun]["id"])

    group = made("security-groups", "security_group", {"name": f"{name}-group"})
    rule = {"security_group_id": group, "direction": "ingress", "protocol": "tcp"}
    tenant.things |= {
        "security_group_id": group,
        "security_group_rule_id": made("security-group-rules", "security_group_rule", rule),
        "router_id": made("routers", "router", {"name": f"{name}-router"}),
        "floatingip_id": made("floatingips", "floatingip", {"floating_network_id": outside}),
        "group name": f"{name}-group",
    }


def _outside() -> str:
    """The external network, which everybody sees."""
    with database.transaction() as session:
        query = select(models.Network.id).where(models.Network.external)
        if (found := session.scalars(query).first()) is not None:
            return found
        network = models.Network(project_id="operator", name="outside", external=True)
        session.add(network)
        session.flush()
        session.add(
            models.Subnet(
                network_id=network.id, project_id="operator", cidr="198.51.100.0/24",
                gateway_ip="198.51.100.1", pool_start="198.51.100.2", pool_end="198.51.100.250",
            )
        )  # fmt: skip
        return network.id


def _settle(site: Site, tenant: Tenant, server: str) -> None:
    """What claim and build would have brought: a host, a port, and the server on them."""
    number = len(tenant.name)
    with database.transaction() as session:
        host = models.Host(
            name=f"{tenant.name}-host", uuid=str(uuid.uuid4()), number=number, session="s",
            state="up", hostname=f"{tenant.name}-host.example", vcpus=8, ram_mb=8192, disk_gb=100,
            cpu_ratio=4.0, ram_ratio=1.0, disk_ratio=1.0,
        )  # fmt: skip
        port = models.Port(
            project_id=tenant.project_id, network_id=tenant.things["network_id"],
            subnet_id=tenant.things["subnet_id"], server_id=server,
            mac=f"52:54:00:00:00:{number:02x}", address=f"10.{number + 61}.0.5",
        )  # fmt: skip
        tag = models.ServerTag(server_id=server, tag=f"{tenant.name}-tag")
        session.add_all([host, port, tag])
        session.flush()
        tenant.things |= {
            "port_id": port.id, "host": host.name, "mac": port.mac, "address": port.address,
            "host's uuid": host.uuid,
        }  # fmt: skip
    site.set_server(
        server, vm_state="active", task_state=None, power_state=1, host=f"{tenant.name}-host",
        launched_at=1.0,
    )  # fmt: skip


def dump() -> dict[str, list[str]]:
    """All rows of all tables, as text."""
    with database.reading() as session:
        return {
            table.name: sorted(str(tuple(row)) for row in session.execute(select(table)))
            for table in Base.metadata.sorted_tables
        }


def rows_about(tenant: Tenant, tables: dict[str, list[str]]) -> dict[str, list[str]]:
    """The rows in which anything of the project's occurs."""
    marks = tenant.secrets
    return {
        name: [row for row in rows if any(mark in row for mark in marks)]
        for name, rows in tables.items()
    }
