"""networks, routers, floating addresses and security groups of one's own"""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0004"
branch_labels = None
depends_on = None

_GROUPS = uuid.UUID("7a3c1f0e-5d0b-4c52-9f5e-1f6f0c6f2b9a")
"""As in app.domain.security_groups: a project's default group keeps the id that it had."""


def upgrade() -> None:
    _networks()
    _subnets()
    _ports()
    _add("server_nics", sa.Column("port_id", sa.String(36), nullable=True))
    _add("server_nics", sa.Column("tag", sa.String(60), nullable=True))
    _routers()
    _floating_ips()
    _host_networking()
    _groups()
    _default_groups()


def _networks() -> None:
    # Those that are there lead out by themselves.
    _add("networks", sa.Column("network_type", sa.String(16), server_default="nat"))
    _add("networks", sa.Column("external", sa.Boolean(), server_default=sa.false()))
    _add("networks", sa.Column("port_security_enabled", sa.Boolean(), server_default=sa.true()))
    _add("networks", sa.Column("physical_network", sa.String(64), nullable=True))
    _add("networks", sa.Column("segmentation_id", sa.Integer(), nullable=True))


def _subnets() -> None:
    _add("subnets", sa.Column("host_address", sa.String(39), nullable=True))
    _add("subnets", sa.Column("more_pools", sa.JSON(), server_default="[]"))
    _add("subnets", sa.Column("host_routes", sa.JSON(), server_default="[]"))
    _add("subnets", sa.Column("description", sa.Text(), server_default=""))
    _add("subnets", sa.Column("segment", sa.String(36), nullable=True))


def _ports() -> None:
    with op.batch_alter_table("ports") as batch:
        batch.alter_column("subnet_id", existing_type=sa.String(36), nullable=True)
        batch.alter_column("address", existing_type=sa.String(39), nullable=True)
    _add("ports", sa.Column("own", sa.Boolean(), server_default=sa.true()))
    _add("ports", sa.Column("description", sa.Text(), server_default=""))
    _add("ports", sa.Column("admin_state_up", sa.Boolean(), server_default=sa.true()))
    _add("ports", sa.Column("device_id", sa.String(255), server_default=""))
    _add("ports", sa.Column("device_owner", sa.String(255), server_default=""))
    _add("ports", sa.Column("host_id", sa.String(255), server_default=""))
    _add("ports", sa.Column("port_security_enabled", sa.Boolean(), server_default=sa.true()))
    _add("ports", sa.Column("address_pairs", sa.JSON(), server_default="[]"))
    _add("ports", sa.Column("tag", sa.String(60), nullable=True))
    op.create_index("ix_ports_device_id", "ports", ["device_id"])


def _routers() -> None:
    op.create_table(
        "routers",
        *_named(),
        sa.Column("admin_state_up", sa.Boolean(), nullable=False),
        sa.Column("external_network_id", sa.String(36), nullable=True),
        sa.Column("enable_snat", sa.Boolean(), nullable=False),
        sa.Column("routes", sa.JSON(), nullable=False),
        _key("routers", "external_network_id", "networks.id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routers")),
    )
    op.create_index("ix_routers_project_id", "routers", ["project_id"])


def _floating_ips() -> None:
    op.create_table(
        "floating_ips",
        *_named(name=False),
        sa.Column("network_id", sa.String(36), nullable=False),
        sa.Column("address", sa.String(39), nullable=False),
        sa.Column("port_id", sa.String(36), nullable=True),
        sa.Column("router_id", sa.String(36), nullable=True),
        _key("floating_ips", "network_id", "networks.id"),
        _key("floating_ips", "port_id", "ports.id", "SET NULL"),
        _key("floating_ips", "router_id", "routers.id", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_floating_ips")),
        sa.UniqueConstraint("port_id", name=op.f("uq_floating_ips_port_id")),
        sa.UniqueConstraint(
            "network_id", "address", name=op.f("uq_floating_ips_network_id_address")
        ),
    )
    op.create_index("ix_floating_ips_project_id", "floating_ips", ["project_id"])


def _host_networking() -> None:
    op.create_table(
        "host_networking",
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("applied", sa.Integer(), nullable=False),
        sa.Column("next_ring_at", sa.Float(53), nullable=False),
        sa.Column("rings", sa.Integer(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_host_networking")),
    )


def _groups() -> None:
    op.create_table(
        "security_groups",
        *_named(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_groups")),
    )
    op.create_index("ix_security_groups_project_id", "security_groups", ["project_id"])
    op.create_table(
        "security_group_rules",
        *_named(name=False),
        sa.Column("group_id", sa.String(36), nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("ethertype", sa.String(4), nullable=False),
        sa.Column("protocol", sa.String(16), nullable=True),
        sa.Column("port_min", sa.Integer(), nullable=True),
        sa.Column("port_max", sa.Integer(), nullable=True),
        sa.Column("remote_ip", sa.String(64), nullable=True),
        sa.Column("remote_group_id", sa.String(36), nullable=True),
        _key("security_group_rules", "group_id", "security_groups.id", "CASCADE"),
        _key("security_group_rules", "remote_group_id", "security_groups.id", "CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_group_rules")),
    )
    for column in ("group_id", "remote_group_id"):
        op.create_index(f"ix_security_group_rules_{column}", "security_group_rules", [column])
    _members("port_security_groups", "port_id", "ports.id", None)
    _members("server_security_groups", "server_id", "servers.id", "CASCADE")


def _members(table: str, column: str, target: str, ondelete: str | None) -> None:
    op.create_table(
        table,
        sa.Column(column, sa.String(36), nullable=False),
        sa.Column("group_id", sa.String(36), nullable=False),
        _key(table, column, target, "CASCADE"),
        _key(table, "group_id", "security_groups.id", ondelete),
        sa.PrimaryKeyConstraint(column, "group_id", name=op.f(f"pk_{table}")),
    )
    op.create_index(f"ix_{table}_group_id", table, ["group_id"])


def _default_groups() -> None:
    """What was promised so far stays true: `default` lets everything pass where it was in use."""
    connection = op.get_bind()
    owners = connection.execute(
        sa.text("SELECT id FROM projects UNION SELECT project_id FROM servers")
    )
    for (project,) in owners.all():
        group = str(uuid.uuid5(_GROUPS, project))
        connection.execute(
            sa.text(
                "INSERT INTO security_groups (id, project_id, name, description, created_at, "
                "updated_at) VALUES (:group, :project, 'default', 'Default security group', "
                "0.0, 0.0)"
            ),
            {"group": group, "project": project},
        )
        for direction in ("ingress", "egress"):
            connection.execute(
                sa.text(
                    "INSERT INTO security_group_rules (id, project_id, group_id, direction, "
                    "ethertype, description, created_at, updated_at) VALUES (:id, :project, "
                    ":group, :direction, 'IPv4', '', 0.0, 0.0)"
                ),
                {
                    "id": str(uuid.uuid5(_GROUPS, f"{project}/{direction}")),
                    "project": project,
                    "group": group,
                    "direction": direction,
                },
            )
        for table, column, source in (
            ("server_security_groups", "server_id", "servers"),
            ("port_security_groups", "port_id", "ports"),
        ):
            connection.execute(
                sa.text(
                    f"INSERT INTO {table} ({column}, group_id) "  # names of ours
                    f"SELECT id, :group FROM {source} WHERE project_id = :project"
                ),
                {"group": group, "project": project},
            )


def _named(name: bool = True) -> list[sa.Column]:
    columns = [
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("updated_at", sa.Float(53), nullable=False),
    ]
    return columns + ([sa.Column("name", sa.String(255), nullable=False)] if name else [])


def _key(
    table: str, column: str, target: str, ondelete: str | None = None
) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [target], name=op.f(f"fk_{table}_{column}"), ondelete=ondelete
    )


def _add(table: str, column: sa.Column) -> None:
    """Each with a value for the rows that are there; afterwards the program gives it."""
    name, given = column.name, column.server_default is not None
    with op.batch_alter_table(table) as batch:
        batch.add_column(column)
    if given:
        with op.batch_alter_table(table) as batch:
            batch.alter_column(name, existing_type=column.type, nullable=False, server_default=None)


def downgrade() -> None:
    for table in ("server_security_groups", "port_security_groups", "security_group_rules"):
        op.drop_table(table)
    for table in ("security_groups", "host_networking", "floating_ips", "routers"):
        op.drop_table(table)
    for column in ("port_id", "tag"):
        _drop("server_nics", column)
    op.execute("DELETE FROM ports WHERE address IS NULL OR subnet_id IS NULL")
    op.drop_index("ix_ports_device_id", "ports")
    for column in ("own", "description", "admin_state_up", "device_id", "device_owner", "host_id"):
        _drop("ports", column)
    for column in ("port_security_enabled", "address_pairs", "tag"):
        _drop("ports", column)
    with op.batch_alter_table("ports") as batch:
        batch.alter_column("subnet_id", existing_type=sa.String(36), nullable=False)
        batch.alter_column("address", existing_type=sa.String(39), nullable=False)
    for column in ("host_address", "more_pools", "host_routes", "description", "segment"):
        _drop("subnets", column)
    for column in ("network_type", "external", "port_security_enabled", "physical_network"):
        _drop("networks", column)
    _drop("networks", "segmentation_id")


def _drop(table: str, column: str) -> None:
    with op.batch_alter_table(table) as batch:
        batch.drop_column(column)
