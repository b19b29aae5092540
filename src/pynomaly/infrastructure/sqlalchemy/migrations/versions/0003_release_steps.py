"""Releases move in steps: decision policy, rollout, approval, events, and what rollouts saw."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what a release carries along, and the tables of its history."""
    for column in (
        sa.Column("decision", sa.JSON(), nullable=True),
        sa.Column("rollout", sa.JSON(), nullable=True),
        sa.Column("target", sa.Text(), nullable=False, server_default="production"),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("paused", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("needs_approval", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("approval", sa.JSON(), nullable=True),
        sa.Column("proposer", sa.JSON(), nullable=True),
        sa.Column("replaced", sa.Text(), nullable=True),
    ):
        op.add_column("releases", column)
    # Until now a release served until the next promotion: the fence tells what came before.
    op.execute(
        "UPDATE releases SET replaced = (SELECT earlier.id FROM releases AS earlier "
        "WHERE earlier.pipeline = releases.pipeline AND earlier.state = 'superseded' "
        "AND earlier.fence < releases.fence ORDER BY earlier.fence DESC LIMIT 1) "
        "WHERE state IN ('production', 'superseded')"
    )
    on_its_way = sa.text("state IN ('pending_approval', 'staging', 'canary')")
    op.create_index(
        "uq_releases_on_its_way",
        "releases",
        ["pipeline"],
        unique=True,
        sqlite_where=on_its_way,
        postgresql_where=on_its_way,
    )
    op.create_table(
        "release_events",
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline", "fence", name=op.f("pk_release_events")),
        sa.ForeignKeyConstraint(
            ["release_id"], ["releases.id"], name=op.f("fk_release_events_release_id")
        ),
    )
    op.create_index(op.f("ix_release_events_release_id"), "release_events", ["release_id"])
    op.create_table(
        "release_observations",
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("seen", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("release_id", "step", "key", name=op.f("pk_release_observations")),
        sa.ForeignKeyConstraint(
            ["release_id"], ["releases.id"], name=op.f("fk_release_observations_release_id")
        ),
    )
    op.add_column("score_partitions", sa.Column("observed", sa.JSON(), nullable=True))
