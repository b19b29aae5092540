"""The score ledger: jobs, their partitions, and what became of each."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the ledger's tables."""
    op.create_table(
        "score_jobs",
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("source_uri", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("manifest_digest", sa.Text(), nullable=False),
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("watermark", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_score_jobs")),
        sa.UniqueConstraint("id", name=op.f("uq_score_jobs_id")),
    )
    op.create_index(
        op.f("ix_score_jobs_pipeline_created_at"), "score_jobs", ["pipeline", "created_at"]
    )
    op.create_index(op.f("ix_score_jobs_target"), "score_jobs", ["target"])
    op.create_table(
        "score_partitions",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("manifest_digest", sa.Text(), nullable=False),
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("extent", sa.Text(), nullable=False),
        sa.Column("first_row", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("locator", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("leased_until", sa.Double(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("rows_in", sa.BigInteger(), nullable=True),
        sa.Column("rows_scored", sa.BigInteger(), nullable=True),
        sa.Column("rows_quarantined", sa.BigInteger(), nullable=True),
        sa.Column("rows_flagged", sa.BigInteger(), nullable=True),
        sa.Column("parts", sa.JSON(), nullable=True),
        sa.Column("committed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_score_partitions")),
    )
    op.create_index(
        op.f("ix_score_partitions_pipeline_created_at"),
        "score_partitions",
        ["pipeline", "created_at"],
    )
    op.create_table(
        "score_job_partitions",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "position", name=op.f("pk_score_job_partitions")),
        sa.UniqueConstraint("key", "job_id", name=op.f("uq_score_job_partitions_key_job_id")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["score_jobs.id"], name=op.f("fk_score_job_partitions_job_id")
        ),
        sa.ForeignKeyConstraint(
            ["key"], ["score_partitions.key"], name=op.f("fk_score_job_partitions_key")
        ),
    )
