"""Which bytes we have put into files of scored rows, noted before they appear there."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; what batches have said so far goes into it."""
    op.create_table(
        "written_outputs",
        sa.Column("output_uri", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("output_uri", "digest", name=op.f("pk_written_outputs")),
    )
    op.execute(
        "INSERT INTO written_outputs (output_uri, digest) "
        "SELECT DISTINCT output_uri, output_digest FROM scored_batches"
    )
    op.drop_index(op.f("ix_scored_batches_output_uri_scored_at"), table_name="scored_batches")
