"""Monitoring the last scored batch: what it compares, what it says, and how often it is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pynomaly.application.monitor import MonitorScores
from pynomaly.application.read_scores import ReadScores
from pynomaly.domain.datasets import Fingerprint, Schema, Snapshot
from pynomaly.domain.decision import draw_line, policy_version
from pynomaly.domain.errors import IntegrityError, UsageError
from pynomaly.domain.ledger import Entry, Outcome, Part, ScoreJob, ScoreVersion
from pynomaly.domain.monitoring import Monitoring
from pynomaly.domain.partitions import Partition
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline
from pynomaly.domain.quality import ExpectationResult, ValidationReport
from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.domain.runs import Actor, ScoredBatch
from pynomaly.domain.scores import calibrate, p_values
from pynomaly.domain.sources import SourceSpec
from pynomaly.domain.transitions import begin
from pynomaly.testing import InMemoryLedger, InMemoryRecords

START = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass
class InMemoryParts:
    """The reading half of ``PartStore``."""

    tables: dict[str, pa.Table] = field(default_factory=dict)

    def read(
        self, parts: Sequence[Part], columns: Sequence[str] | None = None, batch_rows: int = 50_000
    ) -> Iterator[pa.Table]:
        for part in parts:
            if part.uri not in self.tables:
                raise IntegrityError(f"{part.uri} is gone")
            for batch in self.tables[part.uri].select(columns).to_batches(batch_rows):
                yield pa.Table.from_batches([batch])


class World:
    """A pipeline whose model version 1 scores batches of made-up scores."""

    def __init__(self, calibration: int = 1_000, seed: int = 0, **decision: Any) -> None:
        self.rng = np.random.default_rng(seed)
        self.pipeline = Pipeline(
            "payments", SourceSpec("x.csv"), Schema(()), decision=DecisionPolicy(**decision)
        )
        self.model = SimpleNamespace(
            calibration=calibrate(self.rng.normal(size=calibration)),
            card=SimpleNamespace(training_fingerprint="trained"),
        )
        self.records, self.ledger, self.parts = InMemoryRecords(), InMemoryLedger(), InMemoryParts()
        for version in (1, 2):
            self.records.add_version(
                ModelVersion("payments", version, "u", "d", "r", "t", "trained", "h", START)
            )
        loader: Any = SimpleNamespace(version=lambda _, v: v, load=lambda _: self.model)
        store: Any = self.parts
        self.look = MonitorScores(
            self.records, self.ledger, ReadScores(self.ledger, store, store, self.records), loader,
            Path("/home/scores"),
        )  # fmt: skip
        self.batches = 0

    def score(
        self,
        rows: int = 1_000,
        *,
        moved: float = 0.0,
        refused: int = 0,
        content: str | None = None,
        version: int = 1,
        answered_by: int | None = None,
        policy: str | None = None,
        warnings: int = 0,
    ) -> str:
        """Score a batch of ordinary rows, all moved by so much; return its id."""
        self.batches += 1
        name = f"b{self.batches:03}"
        policy = policy or policy_version(self.pipeline.decision)
        scores = self.rng.normal(moved, 1, rows)
        line = draw_line(self.pipeline.decision, self.model.calibration, [scores])
        flags = line.flags(scores)
        self.parts.tables[name] = pa.table(
            {
                "score": scores,
                "p_value": p_values(self.model.calibration, scores),
                "is_anomaly": flags,
                "model_version": np.full(rows, answered_by or version),
                "reasons": pa.array(
                    [
                        [{"column": "amount" if s > 0 else "rate"}] if f else None
                        for s, f in zip(scores, flags, strict=True)
                    ],
                    pa.list_(pa.struct([("column", pa.string())])),
                ),
            }
        )
        at = START + timedelta(hours=self.batches)
        scorer = ScoreVersion(version, "a" * 64, policy)
        partition = Partition(name, name, "", 0, rows, 1, name)
        fingerprint = content or name
        job = ScoreJob(name, name, "payments", name, fingerprint, scorer, "scores", at)
        self.ledger.open_job(job, [Entry(name, partition, "payments", scorer, "scores", "pending")])
        lease = self.ledger.lease(name, "me", 60)
        assert lease is not None
        flagged = int(flags.sum())
        self.ledger.commit(
            lease, Outcome(rows + refused, rows, refused, flagged, (Part(name, "d", rows, 1),))
        )
        self.records.add_batch(
            ScoredBatch(
                name, name, "payments", name, fingerprint, version, policy, rows + refused, rows,
                refused, flagged, "scores", "d", None, at,
            )
        )  # fmt: skip
        self.validate(name, fingerprint, rows, refused, warnings, at)
        return name

    def validate(
        self, name: str, content: str, rows: int, refused: int, warnings: int, at: datetime
    ) -> None:
        results = [
            ExpectationResult(f"expectation {i}", "amount", "warning", i >= warnings, "7", "5")
            for i in range(3)
        ]
        snapshot = Snapshot("x", Fingerprint(content, "s"), (("a", "double"),), rows + refused, 1)
        self.records.add_report(
            ValidationReport(
                f"report-{name}", "payments", snapshot, tuple(results), rows, refused, 0.05, at
            )
        )

    def levels(self) -> dict[str, str]:
        return {f.check: f.level for f in self.monitor().findings}

    def monitor(self) -> Monitoring:
        return self.look(self.pipeline)


def test_an_ordinary_batch_is_ok_in_every_respect() -> None:
    world = World()
    for _ in range(4):
        world.score()

    found = world.monitor()

    assert found.level == "ok"
    assert [f.check for f in found.findings] == [
        "alerts_budget", "alerts_earlier", "scores_calibration", "scores_earlier", "quarantine",
        "validation",
    ]  # fmt: skip
    assert (found.batch_id, found.rows, found.earlier, found.notes) == ("b004", 1_000, 3, ())


def test_scores_that_moved_are_drift_and_the_sentence_says_how() -> None:
    world = World()
    world.score()
    world.score(moved=1.0)

    found = {f.check: f for f in world.monitor().findings}

    assert {name for name, f in found.items() if f.level == "drift"} == {
        "alerts_budget", "alerts_earlier", "scores_calibration", "scores_earlier",
    }  # fmt: skip
    assert "rows look stranger" in found["scores_earlier"].sentence
    assert "at a budget of 1.00 %" in found["alerts_budget"].sentence
    assert "95 % interval" in found["alerts_budget"].sentence


def test_alerts_are_counted_by_the_column_that_explains_most_of_each() -> None:
    world = World()
    world.score(moved=1.0)

    found = world.monitor()

    assert found.reasons == (("amount", found.flagged),)


def test_scores_that_became_tamer_are_drift_too() -> None:
    world = World()
    world.score(moved=-1.0)

    (found,) = [f for f in world.monitor().findings if f.check == "scores_calibration"]
    assert found.level == "drift"
    assert "rows look tamer" in found.sentence


def test_a_real_shift_is_missed_rarely() -> None:
    def noticed(seed: int) -> bool:
        world = World(seed=seed)
        world.score(500)
        world.score(500, moved=0.7)
        return world.monitor().level == "drift"

    assert sum(noticed(seed) for seed in range(50)) >= 47


def test_unchanged_data_raises_no_more_false_alarms_than_stated() -> None:
    levels = []
    for seed in range(300):
        world = World(calibration=300, seed=seed)
        for rows in (400, 150, 250):
            world.score(rows, refused=2)
        levels.append(world.monitor().level)

    assert np.mean([level != "ok" for level in levels]) <= 0.05
    assert np.mean([level == "drift" for level in levels]) <= 0.01


def test_a_certain_but_tiny_difference_is_no_finding() -> None:
    world = World(calibration=20_000)
    world.score(200_000)
    world.score(200_000, moved=0.05)

    (found,) = [f for f in world.monitor().findings if f.check == "scores_earlier"]
    assert found.p is not None
    assert found.p < 1e-6
    assert found.level == "ok"


def test_a_large_difference_among_few_rows_is_no_finding() -> None:
    world = World()
    world.score(8, moved=0.5)

    assert world.monitor().level == "ok"


def test_a_batch_is_compared_only_with_other_data_by_the_same_model_and_policy() -> None:
    world = World()
    world.score(content="same")
    world.score(version=2)
    world.score(policy="another-policy")
    world.score(content="trained")
    world.score(content="same")

    found = world.monitor()

    assert found.earlier == 0
    assert found.notes == (
        "there is no earlier batch by this model and policy on other data than its training data",
    )
    assert "scores_earlier" not in world.levels()


def test_data_the_model_was_trained_on_is_not_compared_with_its_calibration() -> None:
    world = World()
    world.score(moved=-1, content="trained")

    assert "scores_calibration" not in world.levels()
    assert any("trained on" in note for note in world.monitor().notes)


def test_rows_that_another_version_answered_are_left_out_and_mentioned() -> None:
    world = World()
    world.score(300, moved=3, answered_by=2)

    found = world.monitor()

    assert (found.rows, found.level) == (0, "ok")
    assert found.notes[-2:] == (
        "300 rows were answered by another model version",
        "model version 1 answered no row of the batch",
    )


@pytest.mark.parametrize("decision", [{"kind": "top_k", "k": 5}, {"kind": "fdr", "q": 0.5}])
def test_alert_rates_say_nothing_where_the_line_follows_the_batch(decision: Any) -> None:
    world = World(**decision)
    world.score()
    world.score()

    assert {"alerts_budget", "alerts_earlier"}.isdisjoint(world.levels())
    assert any("batch by batch" in note for note in world.monitor().notes)


def test_a_threshold_promises_no_rate_but_earlier_batches_do() -> None:
    world = World(kind="threshold", threshold=2.0)
    world.score()
    world.score(moved=1.0)

    assert "alerts_budget" not in world.levels()
    assert world.levels()["alerts_earlier"] == "drift"


def test_a_policy_that_is_no_longer_configured_is_not_held_against_the_alerts() -> None:
    world = World()
    world.score(policy="alert_budget-before")

    assert "alerts_budget" not in world.levels()
    assert any("neither configured nor" in note for note in world.monitor().notes)


def test_the_policy_of_the_release_that_served_decides_what_the_budget_was() -> None:
    world = World(budget=0.05)
    served = world.pipeline.decision
    world.records.add_release(
        Release("r", "r", "payments", 1, None, "candidate", "pass", (), START, decision=served)
    )
    world.score()
    world.pipeline = replace(world.pipeline, decision=DecisionPolicy(budget=0.001))

    (found,) = [f for f in world.monitor().findings if f.check == "alerts_budget"]
    assert found.level == "ok"
    assert "at a budget of 5.00 %" in found.sentence


def test_a_batch_by_a_version_that_serves_no_more_is_told_as_such() -> None:
    world = World()
    world.score(version=2)
    world.records.add_release(
        Release("r", "r", "payments", 1, None, "candidate", "pass", (), START)
    )
    rule = partial(begin, release_id="r", actor=Actor("ada"), at=START, manifest_digest="")
    world.records.move("payments", rule)

    assert any("version 1, which serves now, has scored" in note for note in world.monitor().notes)


def test_refused_rows_and_warnings_ask_for_a_look_and_never_mean_drift() -> None:
    world = World()
    world.score(2_000, refused=2)
    assert world.levels()["quarantine"] == "ok"
    world.score(2_000, refused=30, warnings=2)

    found = {f.check: f for f in world.monitor().findings}

    assert found["quarantine"].level == "watch"
    assert "in earlier batches 0.10 % of 2,002" in found["quarantine"].sentence
    assert found["validation"].level == "watch"
    assert "amount: expectation 0 observed 7, allowed 5" in found["validation"].sentence
    assert world.monitor().level == "watch"


def test_half_of_the_allowed_refusals_ask_for_a_look_even_without_history() -> None:
    world = World()
    world.score(1_000, refused=26)

    assert world.levels()["quarantine"] == "watch"


def test_earlier_batches_that_were_pruned_or_damaged_are_left_out_and_mentioned() -> None:
    world = World()
    pruned, damaged, _, _ = (world.score() for _ in range(4))
    world.ledger.forget([pruned])
    del world.parts.tables[damaged]

    found = world.monitor()

    assert found.notes == (
        "an earlier batch was left out: b002 is gone",
        "1 earlier batch was left out: its scores are no longer kept",
    )
    assert found.earlier == 1
    assert "1,000 rows of earlier batches" in found.findings[3].sentence


def test_a_last_batch_that_was_forgotten_with_its_place_is_passed_over() -> None:
    world = World()
    _, second, last = (world.score() for _ in range(3))
    world.ledger.forget([last])

    assert world.monitor().batch_id == second
    assert world.monitor().earlier == 1


def test_a_last_batch_that_is_damaged_or_gone_is_an_error() -> None:
    world = World()
    name = world.score()
    table = world.parts.tables.pop(name)
    with pytest.raises(IntegrityError):
        world.monitor()
    world.parts.tables[name] = table
    world.ledger.reset(name, 1, "damaged")
    with pytest.raises(UsageError, match="no longer complete") as refusal:
        world.monitor()
    # As it was scored, not from the pipeline's own source.
    assert str(refusal.value.hint).startswith(
        "score it again: pynomaly score payments --data b001 "
    )


def test_nothing_scored_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="pynomaly score payments"):
        World().monitor()
