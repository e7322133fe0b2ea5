"""hosts: which changed, how many servers, what they can do"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("hosts", sa.Column("servers", sa.Integer(), server_default="0", nullable=False))
    op.add_column("hosts", sa.Column("facts", sa.Text(), server_default="{}", nullable=False))
    op.add_column(
        "hosts", sa.Column("changed", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.create_index("ix_hosts_changed", "hosts", ["changed"])
    op.add_column(
        "clouds", sa.Column("hosts_forgotten", sa.Integer(), server_default="0", nullable=False)
    )
    op.execute(
        "UPDATE hosts SET servers = "
        "(SELECT count(*) FROM allocations WHERE allocations.host = hosts.name)"
    )


def downgrade() -> None:
    op.drop_index("ix_hosts_changed", "hosts")
    with op.batch_alter_table("clouds") as batch:
        batch.drop_column("hosts_forgotten")
    with op.batch_alter_table("hosts") as batch:
        batch.drop_column("changed")
        batch.drop_column("facts")
        batch.drop_column("servers")
