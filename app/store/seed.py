"""What a cloud holds at its very first start."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Invalid
from app.models import (
    Cloud,
    Domain,
    Flavor,
    Network,
    Project,
    Role,
    RoleAssignment,
    SecurityRule,
    Subnet,
    User,
    new_id,
)
from app.store import security_groups
from app.store.identity import hash_password

ROLES = ("admin", "manager", "member", "reader", "service")

# id, name, RAM in MiB, vCPUs, disk in GiB: Nova's classic five, and one that fits anywhere
FLAVORS = (
    ("1", "m1.tiny", 512, 1, 1),
    ("2", "m1.small", 2048, 1, 20),
    ("3", "m1.medium", 4096, 2, 40),
    ("4", "m1.large", 8192, 4, 80),
    ("5", "m1.xlarge", 16384, 8, 160),
    ("6", "tiny", 192, 1, 1),
)

# user → project → roles; each user has a project of the same name
GRANTS = {"admin": ("admin",), "novella": ("member", "reader")}


@dataclass(frozen=True)
class Seeded:
    """The cloud's id, and whether this call made the cloud."""

    cloud_id: str
    created: bool


def first_start(
    session: Session,
    *,
    network_cidr: str,
    passwords: Mapping[str, str],
    cloud_id: str | None = None,
) -> Seeded:
    """Fill an empty database: identity, flavors, the default network, and the cloud's own row.

    `passwords` has one for each of `admin` and `novella`. A cloud that exists is left as it is,
    whatever its operator has changed or deleted since. Raises Invalid for a bad CIDR or a
    missing password.
    """
    if (existing := session.scalar(select(Cloud.id))) is not None:
        return Seeded(existing, created=False)
    if missing := [name for name in GRANTS if not passwords.get(name)]:
        raise Invalid(f"passwords: none for {', '.join(missing)}")
    cloud = Cloud(id=cloud_id or new_id())
    session.add(cloud)
    _add_identity(session, passwords)
    session.add_all(
        Flavor(id=id_, name=name, ram_mb=ram, vcpus=vcpus, disk_gb=disk)
        for id_, name, ram, vcpus, disk in FLAVORS
    )
    _add_default_network(session, network_cidr)
    _open_default_groups(session)
    session.flush()
    return Seeded(cloud.id, created=True)


def _add_identity(session: Session, passwords: Mapping[str, str]) -> None:
    session.add(Domain(id="default", name="Default", description="The default domain"))
    roles = {name: uuid.uuid4().hex for name in ROLES}
    session.add_all(Role(id=id_, name=name) for name, id_ in roles.items())
    for name, granted in GRANTS.items():
        project = Project(id=uuid.uuid4().hex, name=name)
        user = User(
            id=uuid.uuid4().hex,
            name=name,
            password_hash=hash_password(passwords[name]),
            default_project_id=project.id,
        )
        session.add_all([project, user])
        session.add_all(_grant(user.id, roles[role], "project", project.id) for role in granted)
        if name == "admin":
            session.add(_grant(user.id, roles["admin"], "system", "all"))


def _grant(user_id: str, role_id: str, scope: str, target_id: str) -> RoleAssignment:
    return RoleAssignment(user_id=user_id, role_id=role_id, scope=scope, target_id=target_id)


def _add_default_network(session: Session, cidr: str) -> None:
    try:
        subnet = ipaddress.IPv4Network(cidr)
    except ValueError as error:
        raise Invalid(f"network_cidr: {error}") from error
    if subnet.prefixlen > 29:
        raise Invalid(f"network_cidr: {cidr} has no room for guests, take a /29 or larger")
    session.flush()
    owner = session.scalars(select(Project.id).where(Project.name == "admin")).one()
    network = Network(
        id=new_id(),
        project_id=owner,
        name="default",
        shared=True,
        is_default=True,
        network_type="nat",
    )
    session.add(network)
    session.flush()
    session.add(
        Subnet(
            network_id=network.id,
            project_id=owner,
            name="default",
            cidr=str(subnet),
            gateway_ip=str(subnet[1]),
            pool_start=str(subnet[2]),
            pool_end=str(subnet[-2]),
            dns=[str(subnet[1])],
        )
    )


def _open_default_groups(session: Session) -> None:
    """Whoever tries the cloud out can ping a first guest and log in to it: in the two projects
    of the first start, and in no others."""
    for project in session.scalars(select(Project.id).order_by(Project.name)):
        group = security_groups.ensure_default(session, project)
        for protocol, port in (("icmp", None), ("tcp", 22)):
            rule = SecurityRule(
                project_id=project,
                group_id=group,
                direction="ingress",
                protocol=protocol,
                port_min=port,
                port_max=port,
                remote_ip="0.0.0.0/0",
            )
            session.add(rule)
