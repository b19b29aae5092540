"""Tables of the score ledger.  A change here needs a migration; a test compares the two."""

from __future__ import annotations

import sqlalchemy as sa

from pynomaly.infrastructure.sqlalchemy.tables import (
    UtcDateTime,
    arrival_order,
    json_column,
    metadata,
)

__all__ = ["job_partitions", "jobs", "partitions"]

jobs = sa.Table(
    "score_jobs",
    metadata,
    arrival_order(),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("source_uri", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("model_version", sa.Integer, nullable=False),
    sa.Column("manifest_digest", sa.Text, nullable=False),
    sa.Column("policy_version", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("watermark", sa.Text),
    # Empty in jobs of versions that did not note it.
    sa.Column("keep", sa.JSON(none_as_null=True)),
    sa.Column("partition_by", sa.Text),
    sa.Index(None, "pipeline", "created_at"),
    sa.Index(None, "target"),
)

partitions = sa.Table(
    "score_partitions",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("model_version", sa.Integer, nullable=False),
    sa.Column("manifest_digest", sa.Text, nullable=False),
    sa.Column("policy_version", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("extent", sa.Text, nullable=False),
    sa.Column("first_row", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    json_column("locator"),
    # Of the first job that asked for it.
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    # Seconds since 1970 by the clock of the database.
    sa.Column("leased_until", sa.Double),
    sa.Column("error", sa.JSON(none_as_null=True)),  # as in runs
    sa.Column("rows_in", sa.BigInteger),
    sa.Column("rows_scored", sa.BigInteger),
    sa.Column("rows_quarantined", sa.BigInteger),
    sa.Column("rows_flagged", sa.BigInteger),
    sa.Column("parts", sa.JSON(none_as_null=True)),
    sa.Column("observed", sa.JSON(none_as_null=True)),
    sa.Column("committed_at", UtcDateTime),
    sa.Index(None, "pipeline", "created_at"),
)

job_partitions = sa.Table(
    "score_job_partitions",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("score_jobs.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, sa.ForeignKey("score_partitions.key"), nullable=False),
    # Of the partition, once more, to group by it.
    sa.Column("source", sa.Text, nullable=False),
    sa.UniqueConstraint("key", "job_id"),
)
