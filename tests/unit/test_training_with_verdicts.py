"""What people said about rows: in training, in the model's record, and before the gates."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from pynomaly.application.fit import FitScorer
from pynomaly.application.gates.contender import Contender
from pynomaly.application.gates.context import GateContext
from pynomaly.application.gates.recent import Recent
from pynomaly.application.gates.verdicts import contamination, known_rows
from pynomaly.application.incidents import Found
from pynomaly.application.judgements import CollectJudgements, Judgements
from pynomaly.application.lesson import prepare_lesson
from pynomaly.application.row_names import cells, digests
from pynomaly.application.scoring_rows import score_table
from pynomaly.application.split import TrainingRows
from pynomaly.application.train import FitModel
from pynomaly.application.training_marks import fitted_rows, verdicts_of
from pynomaly.application.tune import Choice
from pynomaly.domain.datasets import FITTED, Column, Dataset, Fingerprint, Schema, Snapshot
from pynomaly.domain.evaluation import average_precision
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline, TrainingPolicy
from pynomaly.domain.runs import Actor
from pynomaly.domain.scores import calibrate, p_values
from pynomaly.domain.sources import SourceSpec
from pynomaly.domain.verdicts import Verdict, judges, short
from pynomaly.infrastructure.arrow.outputs import ParquetDatasetStore
from pynomaly.infrastructure.filesystem.targets import open_local_target
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.modelfolder import FolderModelStore
from pynomaly.infrastructure.pyod.fitter import PyodFitter
from pynomaly.infrastructure.pyod.labels import SklearnLabelFitter
from pynomaly.testing.verdicts import InMemoryVerdicts

KERNELS = FrozenKernels()
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
BUDGET = 0.02
PIPELINE = Pipeline(
    "p",
    SourceSpec("unused"),
    Schema((Column("id", "id"), Column("a", "numeric"), Column("b", "numeric"))),
    id_columns=("id",),
    training=TrainingPolicy(detectors=("ecod",)),
    decision=DecisionPolicy(budget=BUDGET),
)
NOTHING = Judgements()


def table(seed: int, rows: int = 1_200) -> tuple[pa.Table, np.ndarray]:
    """Rows whose anomalies have ordinary values in one corner."""
    values = np.random.default_rng(seed).normal(size=(rows, 2))
    names = [f"{seed}-{i}" for i in range(rows)]
    found = pa.table({"id": names, "a": values[:, 0], "b": values[:, 1]})
    return found, (values > 0.9).all(axis=1)


def verdicts(rows: pa.Table, said: dict[int, str], at: datetime = NOON) -> tuple[Verdict, ...]:
    """Verdicts on rows by their numbers."""
    names, values = digests(rows, PIPELINE), cells(rows, PIPELINE)
    return tuple(
        Verdict(f"v-{names[i]}", "p", names[i], {"id": rows["id"][i].as_py()}, what, values[i],
                "s.csv", Actor("ada"), at)
        for i, what in said.items()
    )  # fmt: skip


def train(folder: Path, rows: pa.Table, judgements: Judgements = NOTHING) -> tuple[Model, pa.Table]:
    store = ParquetDatasetStore(folder / "datasets", open_local_target)
    with store.writer("rows") as writer:
        writer.write(rows)
    scorer = FitScorer(PyodFitter(KERNELS), SklearnLabelFitter(KERNELS), KERNELS)
    folders = FolderModelStore()
    fit = FitModel(store, scorer, folders, folder / "models", judgements=lambda _: judgements)
    snapshot = Snapshot("rows.csv", Fingerprint("c", "s"), (), len(rows), 1)
    trained = fit(
        PIPELINE,
        Dataset(writer.uri, snapshot, len(rows), None, 0),
        Choice("ecod", {}, "consensus_stability", ()),
        "run",
    )
    model = folders.load(Path(trained.folder), trained.manifest_digest)
    assert trained.fitted_rows == model.card.training_rows
    assert model.card.labels == " ".join(filter(None, (trained.labels, trained.verdicts)))
    for name, count in model.card.verdicts.items():
        assert trained.metrics[f"verdicts_{name}"] == count
    return model, store.table(trained.holdout_uri)


def flagged(model: Model, rows: pa.Table) -> np.ndarray:
    return p_values(model.calibration, score_table(model, rows, KERNELS)) <= BUDGET


@pytest.fixture(scope="module")
def judged() -> tuple[pa.Table, Judgements]:
    """A table, anomalies of which and of another one were found, and alerts nobody looked at."""
    rows, truth = table(0)
    others, strange = table(1)
    said = {int(i): "anomaly" for i in np.flatnonzero(truth)[:20]}
    said |= {int(i): "normal" for i in np.flatnonzero(~truth)[:5]}
    elsewhere = {int(i): "anomaly" for i in np.flatnonzero(strange)[:20]}
    waiting = digests(rows.take(np.flatnonzero(~truth)[10:20]), PIPELINE)
    known = verdicts(rows, said) + verdicts(others, elsewhere)
    return rows, Judgements(known, dict.fromkeys(waiting, NOON))


@pytest.fixture(scope="module")
def models(judged, tmp_path_factory):
    """One that knows what was said, and one that was fitted on all rows as if they were normal."""
    rows, judgements = judged
    folders = tmp_path_factory.mktemp("taught"), tmp_path_factory.mktemp("careless")
    return train(folders[0], rows, judgements), train(folders[1], rows)


def test_every_row_of_a_table_gets_its_part(judged):
    rows, judgements = judged
    parts = TrainingRows(rows.slice(0, 900), rows.slice(900))
    lesson = prepare_lesson(parts, PIPELINE, judgements)
    said = {v.row: v.said for v in judgements.verdicts}
    learnt, fitted = verdicts_of(lesson.rows), lesson.rows[FITTED].to_pylist()
    for name, label, fit in zip(digests(parts.fit, PIPELINE), learnt, fitted, strict=True):
        if name in judgements.waiting or (name in said and judges(name)):
            assert (np.isnan(label), fit) == (True, False)
        elif name in said:
            assert (label, fit) == ((1.0, False) if said[name] == "anomaly" else (0.0, True))
        else:
            assert (np.isnan(label), fit) == (True, True)
    held_out = set(digests(parts.holdout, PIPELINE))
    added = set(digests(lesson.added, PIPELINE))
    assert added == {r for r in said if r not in held_out and not judges(r)} - set(
        digests(parts.fit, PIPELINE)
    )
    assert not fitted_rows(lesson.added).num_rows
    # What was kept with a verdict is the row, to the last bit.
    originals, _ = table(1)
    kept = {row["id"]: row for row in originals.to_pylist()}
    assert all(kept[row["id"]].items() <= row.items() for row in lesson.added.to_pylist())


def test_a_row_without_ids_stays_the_judged_one_with_a_column_less_and_is_not_known_with_one_more():
    rows, _ = table(0)
    plain = replace(PIPELINE, id_columns=(), schema=Schema(PIPELINE.schema.columns[1:]))
    narrow = replace(plain, schema=Schema(plain.schema.columns[:1]))
    names, values = digests(rows, plain), cells(rows, plain)
    kept = InMemoryVerdicts()
    kept.add(
        [
            Verdict(str(i), "p", names[i], {"row_id": str(i)}, "anomaly", values[i], "s.csv",
                    Actor("ada"), NOON)
            for i in range(20)
        ]
    )  # fmt: skip
    collect = CollectJudgements(kept, lambda *_, **__: Found((), 0))
    assert [v.row for v in collect(plain).verdicts] == names[:20]
    judgements = collect(narrow)
    assert [v.row for v in judgements.verdicts] == digests(rows.slice(0, 20), narrow)

    parts = TrainingRows(rows.slice(0, 900), rows.slice(900))
    lesson = prepare_lesson(parts, narrow, judgements)
    assert not np.isin([short(v.row) for v in judgements.verdicts], lesson.seen.fitted).any()
    assert lesson.counts["added"] == 0

    wider = Column("c", "numeric", nullable=True)
    wide = replace(plain, schema=Schema((*plain.schema.columns, wider)))
    more = rows.append_column("c", pa.array(np.arange(float(len(rows)))))
    lesson = prepare_lesson(TrainingRows(more.slice(0, 900), more.slice(900)), wide, collect(wide))
    assert (lesson.counts["added"], lesson.counts["anomalies_taught"]) == (0, 0)
    assert "cannot be read as the columns are now" in lesson.sentence


def test_open_alerts_that_a_label_answers_are_fitted_on_and_contaminate_nothing():
    rows, _ = table(0)
    parts = TrainingRows(rows.slice(0, 900), rows.slice(900))
    labels = np.full(900, np.nan)
    labels[:20] = 0.0
    labelled = replace(
        PIPELINE,
        schema=Schema((*PIPELINE.schema.columns, Column("label", "numeric"))),
        label_column="label",
    )
    told = parts.fit.append_column("label", pa.array(labels))
    names = digests(told, labelled)
    judgements = Judgements((), dict.fromkeys(names[10:30], NOON))
    lesson = prepare_lesson(TrainingRows(told, parts.holdout), labelled, judgements)
    assert lesson.counts["waiting_set_aside"] == 10
    assert np.isin([short(name) for name in names[10:20]], lesson.seen.fitted).all()

    card = SimpleNamespace(verdicts=lesson.counts)
    model = SimpleNamespace(seen=lesson.seen, card=card)
    result = contamination(SimpleNamespace(model=model), judgements, LATER)
    assert result.verdict == "pass"


def test_alerts_that_are_no_exceptions_any_more_are_fitted_on_and_told():
    rows, _ = table(0)
    waiting = digests(rows.slice(0, 200), PIPELINE)
    lesson = prepare_lesson(
        TrainingRows(rows.slice(0, 900), rows.slice(900)), PIPELINE,
        Judgements((), dict.fromkeys(waiting, NOON), nameless=3),
    )  # fmt: skip
    assert "3 flagged rows that may wait for a verdict could not be looked for" in lesson.sentence
    assert lesson.rows[FITTED].to_numpy().all()
    assert lesson.counts["waiting_fitted"] == 200
    assert "more than 10%" in lesson.sentence


def test_verdicts_alone_make_a_better_model_which_keeps_what_it_saw(judged, models):
    (taught, _), (careless, _) = models
    unseen, truth = table(5)
    before = average_precision(truth.astype(int), score_table(careless, unseen, KERNELS))
    after = average_precision(truth.astype(int), score_table(taught, unseen, KERNELS))
    assert before < 0.3 < 0.7 < after
    counts = taught.card.verdicts
    assert counts["anomalies_taught"] + counts["normal_taught"] == len(taught.seen.taught)
    assert counts["waiting_set_aside"] > 0
    assert len(taught.seen.fitted) == taught.card.training_rows
    assert careless.card.verdicts == {}


@pytest.mark.parametrize("reviewer", ["calls all alerts anomalies", "never looks"])
def test_retraining_on_what_was_flagged_does_not_flag_more_and_more(reviewer, tmp_path):
    rows, _ = table(2, 2_000)
    fresh, _ = table(3, 20_000)
    judgements = NOTHING
    shares = []
    for round_ in range(3):
        model, _ = train(tmp_path / str(round_), rows, judgements)
        shares.append(flagged(model, fresh).mean())
        alerts = np.flatnonzero(flagged(model, rows))
        if reviewer == "never looks":
            names = digests(rows.take(alerts), PIPELINE)
            judgements = Judgements((), {**judgements.waiting, **dict.fromkeys(names, NOON)})
        else:
            given = verdicts(rows, {int(i): "anomaly" for i in alerts})
            judgements = Judgements(
                tuple({v.row: v for v in (*judgements.verdicts, *given)}.values())
            )
    assert max(shares) < 1.5 * BUDGET
    # If rows that were spoken of did not calibrate, the same model would flag far more.
    spoken_of = len(judgements.verdicts) or len(judgements.waiting)
    without = calibrate(model.calibration.scores[:-spoken_of])
    naive = p_values(without, score_table(model, fresh, KERNELS)) <= BUDGET
    assert naive.mean() > 1.5 * max(shares)


def test_a_model_fitted_on_known_anomalies_is_blocked(judged, models):
    _, judgements = judged
    good, bad = (Contender(model, KERNELS) for model, _ in models)
    clean = contamination(good, judgements, LATER)
    assert (clean.verdict, clean.observed) == ("pass", 0.0)
    assert clean.n == len(judgements.verdicts) - 5 + 10
    dirty = contamination(bad, judgements, LATER)
    assert (dirty.verdict, dirty.threshold) == ("block", 0.0)
    assert dirty.observed > 10

    late = contamination(bad, judgements, NOON)  # all of it was said after training began
    assert late.verdict == "review"
    assert "judged since" in late.sentence
    flagged_since = contamination(bad, replace(judgements, verdicts=()), NOON)
    assert flagged_since.verdict == "pass"
    assert contamination(bad, replace(judgements, verdicts=()), LATER).verdict == "block"
    moved = replace(bad.model, card=replace(bad.model.card, verdicts={"waiting_fitted": 10}))
    too_many = contamination(replace(bad, model=moved), replace(judgements, verdicts=()), LATER)
    assert too_many.verdict == "review"
    old = contamination(replace(bad, model=replace(bad.model, seen=None)), judgements, LATER)
    assert old.verdict == "review"
    assert contamination(bad, NOTHING, LATER) is None


def test_models_are_judged_by_anomalies_neither_has_seen(judged, models):
    _, judgements = judged
    (good, holdout), (bad, _) = models
    context = GateContext(
        PIPELINE, Contender(good, KERNELS), Contender(bad, KERNELS), PIPELINE.decision, holdout,
        holdout, None, "f", 0, Recent(), LATER, judgements,
    )  # fmt: skip
    known = known_rows(context)
    seen = {*good.seen.fitted, *good.seen.taught, *bad.seen.fitted}
    unseen = [v for v in judgements.verdicts if v.said == "anomaly" and short(v.row) not in seen]
    assert 0 < len(unseen) < 40
    assert int(np.nansum(known.labels)) == len(unseen)
    assert f" {len(unseen)} of the anomalies were found by people" in known.told
    # Nothing is there twice, and nobody's false alarms are counted against them.
    names = digests(known.rows, PIPELINE)
    assert len(names) == len(set(names))
    assert set(np.unique(known.labels[~np.isnan(known.labels)])) == {1.0}

    old = Contender(replace(good, seen=None), KERNELS)
    assert known_rows(replace(context, challenger=old)) is None  # it may have seen any of them
