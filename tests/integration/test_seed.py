"""The first start fills a database once, and never again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, func, select
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
    Subnet,
    User,
)
from app.store import migrations
from app.store.database import make_engine
from app.store.identity import password_matches
from app.store.seed import first_start

PASSWORDS = {"admin": "the operator's", "novella": "the tenant's"}
CIDR = "10.64.16.0/20"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path / 'a cloud.sqlite'}"
    migrations.upgrade(url)
    made = make_engine(url)
    yield made
    made.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as made, made.begin():
        yield made


def test_users_projects_and_roles(session):
    first_start(session, network_cidr=CIDR, passwords=PASSWORDS)
    assert session.get_one(Domain, "default").name == "Default"
    names = {role.id: role.name for role in session.scalars(select(Role))}
    assert sorted(names.values()) == ["admin", "manager", "member", "reader", "service"]
    users = {user.name: user for user in session.scalars(select(User))}
    projects = {project.name: project for project in session.scalars(select(Project))}
    assert set(users) == set(projects) == {"admin", "novella"}
    for name, user in users.items():
        assert password_matches(user.password_hash, PASSWORDS[name])
    grants = {
        (grant.user_id, names[grant.role_id], grant.scope, grant.target_id)
        for grant in session.scalars(select(RoleAssignment))
    }
    admin, tenant = users["admin"].id, users["novella"].id
    assert grants == {
        (admin, "admin", "project", projects["admin"].id),
        (admin, "admin", "system", "all"),
        (tenant, "member", "project", projects["novella"].id),
        (tenant, "reader", "project", projects["novella"].id),
    }


def test_flavors(session):
    first_start(session, network_cidr=CIDR, passwords=PASSWORDS)
    flavors = {
        flavor.name: (flavor.id, flavor.vcpus, flavor.ram_mb, flavor.disk_gb)
        for flavor in session.scalars(select(Flavor))
    }
    assert flavors == {
        "m1.tiny": ("1", 1, 512, 1),
        "m1.small": ("2", 1, 2048, 20),
        "m1.medium": ("3", 2, 4096, 40),
        "m1.large": ("4", 4, 8192, 80),
        "m1.xlarge": ("5", 8, 16384, 160),
        "tiny": ("6", 1, 192, 1),
    }


def test_default_network(session):
    first_start(session, network_cidr=CIDR, passwords=PASSWORDS)
    network = session.scalars(select(Network)).one()
    assert (network.name, network.shared, network.is_default) == ("default", True, True)
    subnet = session.scalars(select(Subnet)).one()
    assert subnet.network_id == network.id
    assert (subnet.cidr, subnet.gateway_ip, subnet.dns) == (CIDR, "10.64.16.1", ["10.64.16.1"])
    assert (subnet.pool_start, subnet.pool_end) == ("10.64.16.2", "10.64.31.254")


def test_again_changes_nothing_even_what_the_operator_deleted(engine):
    with Session(engine) as session, session.begin():
        first = first_start(session, network_cidr=CIDR, passwords=PASSWORDS, cloud_id="c1")
        session.execute(delete(Flavor).where(Flavor.name == "m1.xlarge"))
    with Session(engine) as session, session.begin():
        again = first_start(session, network_cidr="10.1.0.0/20", passwords={})
    assert (first.cloud_id, first.created) == ("c1", True)
    assert (again.cloud_id, again.created) == ("c1", False)
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Cloud)) == 1
        assert session.scalar(select(func.count()).select_from(Flavor)) == 5
        assert session.scalars(select(Subnet.cidr)).all() == [CIDR]


@pytest.mark.parametrize(
    ("cidr", "passwords"),
    [(CIDR, {"admin": "x"}), ("10.0.0.0/30", PASSWORDS), ("10.0.0.1/20", PASSWORDS)],
    ids=["no password", "too small", "no network address"],
)
def test_what_it_refuses(session, cidr, passwords):
    with pytest.raises(Invalid):
        first_start(session, network_cidr=cidr, passwords=passwords)
