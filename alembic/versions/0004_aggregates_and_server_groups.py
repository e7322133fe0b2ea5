"""host aggregates and server groups"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "aggregates",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("updated_at", sa.Float(53), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_aggregates"),
        sa.UniqueConstraint("name", name="uq_aggregates_name"),
        sa.UniqueConstraint("uuid", name="uq_aggregates_uuid"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "aggregate_hosts",
        sa.Column("aggregate_id", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(
            ["aggregate_id"],
            ["aggregates.id"],
            name="fk_aggregate_hosts_aggregate_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["host"], ["hosts.name"], name="fk_aggregate_hosts_host", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("aggregate_id", "host", name="pk_aggregate_hosts"),
    )
    op.create_index("ix_aggregate_hosts_host", "aggregate_hosts", ["host"])
    op.create_table(
        "server_groups",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("policy", sa.String(32), nullable=False),
        sa.Column("max_server_per_host", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_server_groups"),
    )
    op.create_index("ix_server_groups_listing", "server_groups", ["project_id", "created_at", "id"])
    op.create_table(
        "server_group_members",
        sa.Column("server_id", sa.String(36), nullable=False),
        sa.Column("group_id", sa.String(36), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["server_groups.id"],
            name="fk_server_group_members_group_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["server_id"],
            ["servers.id"],
            name="fk_server_group_members_server_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("server_id", name="pk_server_group_members"),
    )
    op.create_index("ix_server_group_members_group_id", "server_group_members", ["group_id"])
    op.add_column(
        "clouds",
        sa.Column("aggregates_revision", sa.Integer(), server_default="0", nullable=False),
    )
    for name in ("own_cpu_ratio", "own_ram_ratio", "own_disk_ratio"):
        op.add_column("hosts", sa.Column(name, sa.Float(53), nullable=True))


def downgrade() -> None:
    _restore_own_ratios()
    op.drop_index("ix_server_group_members_group_id", "server_group_members")
    op.drop_table("server_group_members")
    op.drop_index("ix_server_groups_listing", "server_groups")
    op.drop_table("server_groups")
    op.drop_index("ix_aggregate_hosts_host", "aggregate_hosts")
    op.drop_table("aggregate_hosts")
    op.drop_table("aggregates")
    with op.batch_alter_table("hosts") as batch:
        for name in ("own_disk_ratio", "own_ram_ratio", "own_cpu_ratio"):
            batch.drop_column(name)
    with op.batch_alter_table("clouds") as batch:
        batch.drop_column("aggregates_revision")


def _restore_own_ratios() -> None:
    """Without aggregates, hosts have their own ratios and the default zone."""
    for name in ("cpu_ratio", "ram_ratio", "disk_ratio"):
        op.execute(f"UPDATE hosts SET {name} = coalesce(own_{name}, {name})")
    op.execute("UPDATE hosts SET zone = 'nova' WHERE name IN (SELECT host FROM aggregate_hosts)")
