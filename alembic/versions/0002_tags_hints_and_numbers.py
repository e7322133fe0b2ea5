"""server tags, lock reasons, hints and disk config; hosts' numbers; descriptions in identity"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "server_tags",
        sa.Column("server_id", sa.String(length=36), nullable=False),
        sa.Column("tag", sa.String(length=60), nullable=False),
        sa.ForeignKeyConstraint(
            ["server_id"],
            ["servers.id"],
            name=op.f("fk_server_tags_server_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("server_id", "tag", name=op.f("pk_server_tags")),
    )
    op.create_index("ix_server_tags_tag", "server_tags", ["tag"])
    # Each with a value for the rows that are there; afterwards the program gives it.
    _add("servers", sa.Column("locked_reason", sa.String(length=255), nullable=True))
    _add("servers", sa.Column("disk_config", sa.String(length=6), server_default="MANUAL"))
    _add("servers", sa.Column("scheduler_hints", sa.JSON(), server_default="{}"))
    _add("users", sa.Column("description", sa.Text(), server_default=""))
    _add("roles", sa.Column("description", sa.Text(), server_default=""))
    _add("hosts", sa.Column("booted_at", sa.Float(53), nullable=True))
    _number_hosts()
    _index_for_metrics()
    with op.batch_alter_table("quota_usages") as batch:
        batch.alter_column("in_use", existing_type=sa.Integer(), type_=sa.BigInteger())


def _index_for_metrics() -> None:
    op.create_index("ix_actions_created_at", "actions", ["created_at"])
    op.create_index("ix_action_events_finished_at", "action_events", ["finished_at"])
    alive = sa.text("deleted_at IS NULL")
    op.create_index(
        "ix_servers_alive", "servers", ["vm_state"], sqlite_where=alive, postgresql_where=alive
    )


def _add(table: str, column: sa.Column) -> None:
    name, given = column.name, column.server_default is not None
    with op.batch_alter_table(table) as batch:
        batch.add_column(column)
    if given:
        with op.batch_alter_table(table) as batch:
            batch.alter_column(name, existing_type=column.type, nullable=False, server_default=None)


def _number_hosts() -> None:
    with op.batch_alter_table("hosts") as batch:
        batch.add_column(sa.Column("number", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE hosts SET number = (SELECT count(*) FROM hosts AS o WHERE o.name <= hosts.name)"
    )
    with op.batch_alter_table("hosts") as batch:
        batch.alter_column("number", existing_type=sa.Integer(), nullable=False)
        batch.create_unique_constraint(op.f("uq_hosts_number"), ["number"])


def downgrade() -> None:
    with op.batch_alter_table("quota_usages") as batch:
        batch.alter_column("in_use", existing_type=sa.BigInteger(), type_=sa.Integer())
    op.drop_index("ix_servers_alive", "servers")
    op.drop_index("ix_action_events_finished_at", "action_events")
    op.drop_index("ix_actions_created_at", "actions")
    with op.batch_alter_table("hosts") as batch:
        batch.drop_constraint(op.f("uq_hosts_number"), type_="unique")
        batch.drop_column("number")
        batch.drop_column("booted_at")
    for table, column in (
        ("roles", "description"),
        ("users", "description"),
        ("servers", "scheduler_hints"),
        ("servers", "disk_config"),
        ("servers", "locked_reason"),
    ):
        with op.batch_alter_table(table) as batch:
            batch.drop_column(column)
    op.drop_index("ix_server_tags_tag", table_name="server_tags")
    op.drop_table("server_tags")
