"""Recent batches are read again only if they are still what was scored, and then replayed."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pynomaly.application.gates.alerts import alerts_per_day, per_day, recent_alert_rate
from pynomaly.application.gates.comparison import recent_recall
from pynomaly.application.gates.contender import Contender
from pynomaly.application.gates.recent import ReadRecent, Recent
from pynomaly.application.gates.replay import replay
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.pipelines import DecisionPolicy, ReleasePolicy
from ring import KERNELS, NOON, Ring, payments, pipeline


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ring, list[Contender]]:
    """A ring with a champion, an honest challenger, and one that was trained on last year's rows."""
    ring = Ring(tmp_path_factory.mktemp("ring"))
    snapshots = [payments(6_000, 1), payments(6_000, 2), payments(6_000, 3, year=2)]
    models = [ring.trained(table, detector="gmm") for table in snapshots]
    ring.serves(ring.registered(models[0]))
    return ring, [Contender(ring.model(model), KERNELS) for model in models]


@pytest.fixture
def ring(trained: tuple[Ring, list[Contender]], tmp_path: Path) -> Ring:
    """A ring of its own, in which the champion serves and nothing was scored."""
    ring = Ring(tmp_path)
    version = trained[0].records.version("payments", 1)
    assert version is not None
    ring.records.add_version(version)
    ring.serves(version)
    return ring


@pytest.fixture
def contenders(trained: tuple[Ring, list[Contender]]) -> list[Contender]:
    return trained[1]


def recent(ring: Ring, **release: object) -> Recent:
    read = ReadRecent(ring.records, ring.ledger, ring.reader, ring.datasets)
    return read(pipeline(**release))


def file_of(ring: Ring, number: int) -> Path:
    return ring.folder / f"batch-{number}.parquet"


def test_the_newest_batches_are_read_again_with_what_their_source_sends(ring: Ring) -> None:
    for day in range(4):
        ring.scored(payments(50 + day, day), days_ago=day)

    found = recent(ring, replay_batches=3)

    assert [len(batch.rows) for batch in found.read] == [50, 51, 52]
    assert len(found.scored) == 4
    assert found.unread == ()
    assert found.read[0].columns == tuple(payments(1, 0).column_names)
    assert found.read[0].rows.column("row_id")[0].as_py() == "batch-0.parquet#1"


def test_a_batch_whose_file_changed_or_vanished_is_told_not_judged(
    ring: Ring, contenders: list[Contender]
) -> None:
    ring.scored(payments(50, 0))
    ring.scored(payments(60, 1), days_ago=1)
    pq.write_table(payments(50, 7), file_of(ring, 0))
    file_of(ring, 1).unlink()

    found = recent(ring)
    result = replay(contenders[1], contenders[0], found, ring.pipeline, ring.pipeline.decision)

    assert found.read == ()
    assert len(found.unread) == 2
    assert result.verdict == "pass"
    assert "No scored batch can be replayed" in result.sentence
    assert "2026-03-10 12:00 cannot be read again" in result.sentence


def test_content_scored_twice_counts_once_and_no_batches_are_read_where_replay_is_off(
    ring: Ring,
) -> None:
    first = ring.scored(payments(50, 0))
    ring.records.add_batch(replace(first, id="again", scored_at=NOON + timedelta(hours=1)))

    assert [batch.id for batch in recent(ring, replay_batches=0).scored] == ["again"]
    assert recent(ring, replay_batches=0).read == ()
    # The newer job's partitions are not on the ledger any more.
    assert "no longer on the ledger" in recent(ring).unread[0]


def test_refused_rows_are_left_out_and_unreadable_ones_counted(ring: Ring) -> None:
    table = payments(50, 0)
    weights = table.column("weight").cast(pa.string()).to_pylist()
    weights[4] = "heavy"
    batch = ring.scored(table.set_column(2, "weight", pa.array(weights)))
    with ring.datasets.writer("refused") as writer:
        writer.write(pa.table({"row_id": ["batch-0.parquet#2", "batch-0.parquet#3"]}))
    ring.records = type(ring.records)()
    version = ring.loader.records.version("payments", 1)
    assert version is not None
    ring.records.add_version(version)
    ring.records.add_batch(replace(batch, quarantine_uri=writer.uri))

    read = recent(ring).read[0]

    assert read.unreadable == 1
    assert [row.rpartition("#")[2] for row in read.rows["row_id"].to_pylist()[:4]] == [
        "1", "4", "6", "7",
    ]  # fmt: skip


def test_labels_of_scored_rows_are_not_looked_at(ring: Ring) -> None:
    ring.scored(payments(50, 0).append_column("fraud", pa.array(["maybe"] * 50)))
    columns = (*ring.pipeline.schema.columns, Column("fraud", "numeric"))
    ring.pipeline = replace(ring.pipeline, schema=Schema(columns), label_column="fraud")

    read = recent(ring).read[0]

    assert (read.unreadable, len(read.rows)) == (0, 50)


def test_only_so_many_rows_are_kept_of_a_large_batch(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pynomaly.application.gates.recent.KEPT_ROWS", 500)
    ring.scored(payments(5_000, 0))

    assert len(recent(ring, replay_batches=1).read[0].rows) == 500

    monkeypatch.setattr("pynomaly.application.gates.recent.LARGEST_PARTITION", 1_000)
    assert "more than the 0 MiB" in recent(ring).unread[0]


def test_a_replay_tells_which_alerts_appear_and_disappear_with_reasons(
    ring: Ring, contenders: list[Contender]
) -> None:
    champion, honest, old = contenders
    ring.scored(payments(3_000, 11))
    ring.scored(payments(3_000, 12), days_ago=2)
    found = recent(ring)

    same = replay(champion, champion, found, ring.pipeline, ring.pipeline.decision)
    retrained = replay(honest, champion, found, ring.pipeline, ring.pipeline.decision)
    stale = replay(old, champion, found, ring.pipeline, ring.pipeline.decision)

    assert same.observed == 1.0
    assert same.details["appear"] == same.details["disappear"] == []
    assert retrained.verdict == "pass", retrained.sentence
    assert stale.verdict == "review", stale.sentence
    assert "alerts a day instead of" in stale.sentence
    appear, batches = stale.details["appear"], stale.details["batches"]
    assert isinstance(appear, list)
    assert isinstance(batches, list)
    assert len(appear) == 20
    budget = ring.pipeline.decision.budget
    for alert in appear:
        assert alert["challenger_p_value"] <= budget < alert["champion_p_value"]
        assert alert["reasons"]
        assert alert["ids"]["row_id"].startswith("batch-")
    assert {facts["rows"] for facts in batches} == {3_000}
    for facts in batches:
        assert facts["same_alerts"] <= facts["champion_alerts"] < facts["challenger_alerts"]


def test_a_change_of_the_decision_policy_alone_shows_on_recent_batches(
    ring: Ring, contenders: list[Contender]
) -> None:
    champion = contenders[0]
    ring.scored(payments(3_000, 11))
    served_with = DecisionPolicy(budget=0.1)

    result = replay(champion, champion, recent(ring), ring.pipeline, served_with)
    rate = recent_alert_rate(
        champion, champion, recent(ring), ring.pipeline.release, ring.pipeline.decision, served_with
    )

    assert rate is not None
    assert rate.verdict == "review", rate.sentence
    assert result.verdict == "review"
    assert result.details["appear"] == []
    assert len(result.details["disappear"]) == 20  # type: ignore[arg-type]


def test_batches_too_large_for_a_false_discovery_policy_are_left_out_of_a_replay(
    ring: Ring, contenders: list[Contender]
) -> None:
    champion, honest, _ = contenders
    job = replace(ring.pipeline, decision=DecisionPolicy("fdr", q=0.02))
    ring.scored(payments(3_000, 11), days_ago=1)
    ring.scored(payments(50, 12))

    mixed = replay(honest, champion, recent(ring), job, job.decision)
    large = replay(
        honest, champion, replace(recent(ring), read=recent(ring).read[1:]), job, job.decision
    )

    assert mixed.n == 50
    assert "Some batches are not compared: decision policy fdr" in mixed.sentence
    assert (large.verdict, large.n) == ("pass", 0)


def test_a_challenger_at_home_in_other_rows_is_blocked_on_those_of_production(
    ring: Ring, contenders: list[Contender]
) -> None:
    champion, honest, old = contenders
    ring.scored(payments(3_000, 11))
    found, policy, decision = recent(ring), ring.pipeline.release, ring.pipeline.decision

    good = recent_alert_rate(honest, champion, found, policy, decision, decision)
    bad = recent_alert_rate(old, champion, found, policy, decision, decision)
    contest = recent_recall(honest, champion, found, policy, 0)

    assert [result and result.verdict for result in (good, bad, contest)] == [
        "pass", "block", "pass",
    ]  # fmt: skip
    assert bad is not None
    assert "rows of the batch scored 2026-03-10 12:00" in bad.sentence
    top = DecisionPolicy("top_k", k=5)
    assert recent_alert_rate(old, champion, found, policy, top, decision) is None
    assert recent_recall(old, champion, Recent(), policy, 0) is None
    assert recent_alert_rate(old, champion, Recent(), policy, decision, decision) is None


@pytest.mark.parametrize(
    ("limit", "verdict"), [(None, "pass"), (1_000, "pass"), (35, "review"), (2, "block")]
)
def test_alerts_a_day_are_held_to_what_the_team_can_look_at(
    limit: float | None, verdict: str, ring: Ring, contenders: list[Contender]
) -> None:
    for day in range(3):
        ring.scored(payments(2_000, 20 + day), days_ago=day)
    policy = ReleasePolicy(max_alerts_per_day=limit)

    result = alerts_per_day(
        contenders[1], payments(10, 0), recent(ring), policy, ring.pipeline.decision, first=False
    )

    assert result.verdict == verdict, result.sentence
    assert result.observed is not None
    assert 16 < result.observed < 40  # one or two in a hundred of 2,000
    assert "2,000 rows a day" in result.sentence


def test_without_a_days_worth_of_batches_alerts_a_day_are_unknown(
    ring: Ring, contenders: list[Contender]
) -> None:
    ring.scored(payments(50, 0))
    policy = ReleasePolicy(max_alerts_per_day=5)

    def verdict(*, first: bool, policy: ReleasePolicy = policy) -> str:
        return alerts_per_day(
            contenders[1], payments(10, 0), recent(ring), policy, DecisionPolicy(), first=first
        ).verdict

    assert verdict(first=True) == "pass"
    assert verdict(first=False) == "inconclusive"
    assert verdict(first=False, policy=ReleasePolicy()) == "pass"


def test_batches_a_quarter_of_an_hour_apart_span_a_day_as_well(ring: Ring) -> None:
    batch = ring.scored(payments(50, 0))
    for number in range(1, 200):
        ring.records.add_batch(
            replace(
                batch,
                id=str(number),
                fingerprint=str(number),
                scored_at=NOON - number * timedelta(minutes=15),
            )
        )

    scored = recent(ring, replay_batches=0).scored

    assert len(scored) == 97
    assert per_day(scored, [1] * len(scored)) == pytest.approx(96)


def test_top_k_raises_k_alerts_a_batch(ring: Ring, contenders: list[Contender]) -> None:
    for day in range(3):
        ring.scored(payments(50, day), days_ago=day / 2)

    result = alerts_per_day(
        contenders[1], payments(10, 0), recent(ring), ReleasePolicy(max_alerts_per_day=9),
        DecisionPolicy("top_k", k=5), first=False,
    )  # fmt: skip

    assert result.observed == pytest.approx(10.0)
    assert result.verdict == "block"
