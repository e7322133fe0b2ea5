"""quotas of users and of classes; files and image properties of servers"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "user_quotas",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("hard_limit", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "user_id", "resource", name=op.f("pk_user_quotas")),
    )
    op.create_table(
        "quota_classes",
        sa.Column("class_name", sa.String(length=255), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("hard_limit", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("class_name", "resource", name=op.f("pk_quota_classes")),
    )
    for name in ("files", "image_properties"):
        with op.batch_alter_table("servers") as batch:
            batch.add_column(sa.Column(name, sa.JSON(), server_default="{}"))
        with op.batch_alter_table("servers") as batch:
            batch.alter_column(name, existing_type=sa.JSON(), nullable=False, server_default=None)


def downgrade() -> None:
    for name in ("image_properties", "files"):
        with op.batch_alter_table("servers") as batch:
            batch.drop_column(name)
    op.drop_table("quota_classes")
    op.drop_table("user_quotas")
