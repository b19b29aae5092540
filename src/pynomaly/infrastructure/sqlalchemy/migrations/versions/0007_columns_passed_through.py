"""What a scoring job passed through and was divided by, to repeat it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of earlier jobs nobody knows."""
    op.add_column("score_jobs", sa.Column("keep", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("score_jobs", sa.Column("partition_by", sa.Text(), nullable=True))
