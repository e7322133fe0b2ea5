"""hosts' message versions; deleted servers found without a scan"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("hosts", sa.Column("speaks", sa.Integer(), server_default="1", nullable=False))
    gone = sa.text("deleted_at IS NOT NULL")
    op.create_index(
        "ix_servers_gone", "servers", ["deleted_at"], sqlite_where=gone, postgresql_where=gone
    )


def downgrade() -> None:
    op.drop_index("ix_servers_gone", "servers")
    with op.batch_alter_table("hosts") as batch:
        batch.drop_column("speaks")
