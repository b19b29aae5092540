"""Tables of our records.  A change here needs a migration; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

__all__ = ["UtcDateTime", "arrival_order", "batches", "json_column", "metadata", "model_versions",
           "observations", "release_events", "releases", "reports", "run_leases",
           "runs", "steps", "verdicts", "written_outputs"]  # fmt: skip


class UtcDateTime(sa.TypeDecorator[datetime]):
    """A moment in UTC: SQLite drops time zones, PostgreSQL answers in the session's."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Convert to UTC before SQLite drops the zone."""
        return value if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return a UTC moment whatever the database answered."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def arrival_order() -> sa.Column[int]:
    """Order of arrival: breaks ties between equal timestamps."""
    # Only INTEGER PRIMARY KEY counts up by itself in SQLite.
    return sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True)


def json_column(name: str) -> sa.Column[object]:
    """Anything JSON can say, never missing."""
    # JSON, not JSONB: JSONB refuses NUL characters, which broken input rows do contain.
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=False)


runs = sa.Table(
    "runs",
    metadata,
    arrival_order(),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("command", sa.Text, nullable=False),
    sa.Column("engine", sa.Text, nullable=False),
    sa.Column("actor_name", sa.Text, nullable=False),
    sa.Column("actor_kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime),
    # A JSON string: messages quote broken input, and PostgreSQL text cannot hold NUL characters.
    sa.Column("error", sa.JSON(none_as_null=True)),
    sa.Index(None, "pipeline", "started_at"),
)

run_leases = sa.Table(
    "run_leases",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),  # a run is stored once it is leased
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("command", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.Index(None, "pipeline"),
)

steps = sa.Table(
    "steps",
    metadata,
    arrival_order(),
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime, nullable=False),
    json_column("summary"),
    sa.UniqueConstraint("run_id", "step"),
)

reports = sa.Table(
    "validation_reports",
    metadata,
    arrival_order(),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    json_column("snapshot"),
    json_column("results"),
    sa.Column("accepted", sa.BigInteger, nullable=False),
    sa.Column("quarantined", sa.BigInteger, nullable=False),
    sa.Column("max_quarantine_share", sa.Double, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "pipeline", "fingerprint", "created_at"),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    arrival_order(),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("row", sa.Text, nullable=False),
    json_column("ids"),
    sa.Column("said", sa.Text, nullable=False),
    json_column("values"),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("actor_name", sa.Text, nullable=False),
    sa.Column("actor_kind", sa.Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("reason", sa.JSON(none_as_null=True), nullable=False),  # as in runs
    sa.Index(None, "pipeline", "seq"),
)

model_versions = sa.Table(
    "model_versions",
    metadata,
    sa.Column("pipeline", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("manifest_digest", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("tracking_run_id", sa.Text, nullable=False),
    sa.Column("training_fingerprint", sa.Text, nullable=False),
    sa.Column("holdout_uri", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
)

releases = sa.Table(
    "releases",
    metadata,
    arrival_order(),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("champion", sa.Integer),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    json_column("gates"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("promoted_at", UtcDateTime),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("decision", sa.JSON(none_as_null=True)),
    sa.Column("rollout", sa.JSON(none_as_null=True)),
    sa.Column("target", sa.Text, nullable=False, server_default="production"),
    sa.Column("step", sa.Integer),
    sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("needs_approval", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("approval", sa.JSON(none_as_null=True)),
    sa.Column("proposer", sa.JSON(none_as_null=True)),
    sa.Column("replaced", sa.Text),
    sa.ForeignKeyConstraint(
        ["pipeline", "version"], ["model_versions.pipeline", "model_versions.version"]
    ),
    sa.Index(None, "pipeline", "created_at"),
    # Likewise: one release is on its way.
    sa.Index(
        "uq_releases_on_its_way",
        "pipeline",
        unique=True,
        sqlite_where=sa.text("state IN ('pending_approval', 'staging', 'canary')"),
        postgresql_where=sa.text("state IN ('pending_approval', 'staging', 'canary')"),
    ),
    # The last line of defence: whatever the code does, one release serves.
    sa.Index(
        "uq_releases_production",
        "pipeline",
        unique=True,
        sqlite_where=sa.text("state = 'production'"),
        postgresql_where=sa.text("state = 'production'"),
    ),
)

release_events = sa.Table(
    "release_events",
    metadata,
    sa.Column("pipeline", sa.Text, primary_key=True),
    sa.Column("fence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("release_id", sa.Text, sa.ForeignKey("releases.id"), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("before", sa.Text, nullable=False),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("step", sa.Integer),
    sa.Column("actor_name", sa.Text, nullable=False),
    sa.Column("actor_kind", sa.Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("reason", sa.JSON(none_as_null=True), nullable=False),  # as in runs
    sa.Index(None, "release_id"),
)

observations = sa.Table(
    "release_observations",
    metadata,
    sa.Column("release_id", sa.Text, sa.ForeignKey("releases.id"), primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
    # Of a score partition; counted once per step however often it is scored.
    sa.Column("key", sa.Text, primary_key=True),
    json_column("seen"),
)

batches = sa.Table(
    "scored_batches",
    metadata,
    arrival_order(),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("snapshot_uri", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("model_version", sa.Integer, nullable=False),
    sa.Column("policy_version", sa.Text, nullable=False),
    sa.Column("rows_in", sa.BigInteger, nullable=False),
    sa.Column("rows_scored", sa.BigInteger, nullable=False),
    sa.Column("rows_quarantined", sa.BigInteger, nullable=False),
    sa.Column("rows_flagged", sa.BigInteger, nullable=False),
    sa.Column("output_uri", sa.Text, nullable=False),
    sa.Column("output_digest", sa.Text, nullable=False),
    sa.Column("quarantine_uri", sa.Text),
    sa.Column("scored_at", UtcDateTime, nullable=False),
    sa.ForeignKeyConstraint(
        ["pipeline", "model_version"], ["model_versions.pipeline", "model_versions.version"]
    ),
    sa.Index(None, "pipeline", "scored_at"),
)

written_outputs = sa.Table(
    "written_outputs",
    metadata,
    sa.Column("output_uri", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
)
