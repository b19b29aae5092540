"""Challengers that must not be released, each wrong in its own way, and honest ones that may.

The table and the sentence below it in docs/explanation/label-free-gates.md are this module's own output;
after a change that is meant to change them: ``python tests/challengers.py``, and say why in the commit.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pynomaly.application.conform import conform
from pynomaly.application.held_out import digest_of_rows
from pynomaly.application.judgements import Judgements
from pynomaly.application.row_names import cells, digests
from pynomaly.application.scoring_rows import score_table
from pynomaly.application.train import TrainedModel
from pynomaly.domain.encodings import CategoricalEncoding, Encoding, NumericEncoding
from pynomaly.domain.errors import IntegrityError
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.domain.runs import Actor
from pynomaly.domain.scores import calibrate
from pynomaly.domain.verdicts import Verdict
from ring import KERNELS, LABELLED, Ring, payments

DOCUMENT = Path(__file__).parents[1] / "docs/explanation/label-free-gates.md"
START, END = "<!-- challengers -->", "<!-- end -->"
ROWS = 8_000
REFUSED = "refused (exit code 7)"
FAMILIES = ("knn", "gmm", "iforest", "hbos", "pca", "ecod")
RETRAINS = 5


@dataclass(frozen=True)
class Case:
    """A challenger.

    Args:
        name: For the table.
        seen_by: The gate that should see it.
        make: Registers it.
        verdict: What the release should come to.
        detector: Of the champion.
        recent: Whether a batch that production scored can be read again.
        labelled: Whether the pipeline names a label column when the gates judge.
    """

    name: str
    seen_by: str
    make: Callable[[Arena], ModelVersion]
    verdict: str = "block"
    detector: str = "knn"
    recent: bool = True
    labelled: bool = False


@dataclass(frozen=True)
class Told:
    """What became of a challenger.

    Args:
        case: Which.
        verdict: Of the release, or that it was refused.
        blocking: Gates that blocked.
        others: Gates that asked for review or could not decide.
    """

    case: Case
    verdict: str
    blocking: tuple[str, ...]
    others: tuple[str, ...]


class Arena:
    """A ring with a champion and a batch it scored, both of this year's payments.

    Args:
        folder: For everything that is written.
        detector: Of the champion and, unless a case says otherwise, of challengers.
        recent: Whether a batch was scored.
    """

    def __init__(self, folder: Path, detector: str = "knn", *, recent: bool = True) -> None:
        self.ring = Ring(folder)
        self.detector = detector
        self.ring.serves(self.ring.registered(self.trained(payments(ROWS, 1))))
        if recent:
            self.ring.scored(payments(4_000, 3))

    def trained(self, table: pa.Table, seed: int = 0, **how: object) -> TrainedModel:
        """Train on a snapshot with the arena's detector."""
        return self.ring.trained(table, seed=seed, **{"detector": self.detector, **how})  # type: ignore[arg-type]

    @cached_property
    def good(self) -> tuple[TrainedModel, Model]:
        """A sound challenger, which something is then done to."""
        trained = self.trained(payments(ROWS, 2), seed=5)
        return trained, self.ring.model(trained)

    def as_if_trained_so(self, trained: TrainedModel, model: Model) -> ModelVersion:
        """Register a model whose golden rows and calibration agree with what was done to it."""
        raw = payments(2_500, 4)
        ids = pa.array([str(i) for i in range(len(raw))])
        rows, _ = conform(raw.add_column(0, "row_id", ids), self.ring.pipeline)
        model = replace(model, calibration=calibrate(score_table(model, rows, KERNELS)))
        return self.ring.registered(self.ring.changed(trained, model, golden=True))


def inverted(arena: Arena) -> ModelVersion:
    """Every member's sign is turned round."""
    trained, model = arena.good
    return arena.as_if_trained_so(trained, scores_times(model, -1.0))


def constant(arena: Arena) -> ModelVersion:
    """Every cell is clipped to one value, so every row gets the same score."""
    trained, model = arena.good

    def flat(encoding: Encoding) -> Encoding:
        if isinstance(encoding, NumericEncoding):
            return replace(encoding, lower=encoding.fill, upper=encoding.fill)
        assert isinstance(encoding, CategoricalEncoding)
        return replace(encoding, rarity=(0.0,) * len(encoding.rarity), unseen=0.0)

    encodings = tuple(flat(encoding) for encoding in model.preprocessing.encodings)
    preprocessing = replace(model.preprocessing, encodings=encodings)
    return arena.as_if_trained_so(trained, replace(model, preprocessing=preprocessing))


def thousandfold(arena: Arena) -> ModelVersion:
    """Scores are a thousand times as large, and the calibration is not."""
    trained, model = arena.good
    model = scores_times(model, 1_000.0)
    return arena.ring.registered(arena.ring.changed(trained, model, golden=True))


def rescaled(arena: Arena) -> ModelVersion:
    """The snapshot has cents where production sends euros."""
    return arena.ring.registered(arena.trained(_times(payments(ROWS, 2), "amount", 100.0), seed=5))


def swapped(arena: Arena) -> ModelVersion:
    """In the registry two columns changed places."""
    trained, model = arena.good
    first, second, *rest = model.preprocessing.encodings
    places = (replace(first, column=second.column), replace(second, column=first.column), *rest)
    names = tuple(name for encoding in places for name in encoding.features)
    preprocessing = replace(model.preprocessing, encodings=places, features=names)
    model = replace(model, preprocessing=preprocessing)
    return arena.ring.registered(arena.ring.changed(trained, model))


def one_percent(arena: Arena) -> ModelVersion:
    """The snapshot is a hundredth of what it should be."""
    return arena.ring.registered(arena.trained(payments(ROWS // 100, 2), seed=5))


def known_anomalies(arena: Arena) -> ModelVersion:
    """A fifth of the snapshot are anomalies of one kind; training did not know, the labels do."""
    ring = arena.ring
    snapshot = payments(ROWS, 2, attack=0.2)
    trained = arena.trained(snapshot, seed=5)
    ids = pa.array([f"labelled#{i}" for i in range(2_500)])
    judged = payments(2_500, 6, attack=0.2).add_column(0, "row_id", ids)
    rows, _ = conform(judged, labelled(ring.pipeline))
    with ring.datasets.writer("labelled") as writer:
        writer.write(rows)
    model = ring.model(trained)
    model = replace(model, card=replace(model.card, holdout_digest=digest_of_rows(rows)))
    return ring.registered(replace(ring.changed(trained, model), holdout_uri=writer.uri))


def found_anomalies(arena: Arena) -> ModelVersion:
    """People had found anomalies of one kind, and training took them for ordinary rows."""
    snapshot = payments(ROWS, 2, attack=0.005)
    attacked = snapshot.filter(pc.greater(snapshot.column("speed"), 88.0)).slice(0, 30)
    job, at = arena.ring.pipeline, datetime(2026, 1, 1, tzinfo=UTC)
    arena.ring.judgements = Judgements(
        tuple(
            Verdict(name, job.name, name, {}, "anomaly", values, "s", Actor("ada"), at)
            for name, values in zip(digests(attacked, job), cells(attacked, job), strict=True)
        )
    )
    return arena.ring.registered(arena.trained(snapshot, seed=5))


def labelled(job: Pipeline) -> Pipeline:
    """Return the pipeline with a label column."""
    return replace(job, schema=LABELLED, label_column="is_fraud")


def unlabelled_anomalies(arena: Arena) -> ModelVersion:
    """The same, and nobody labelled them."""
    return arena.ring.registered(arena.trained(payments(ROWS, 2, attack=0.2), seed=5))


def last_year(arena: Arena) -> ModelVersion:
    """The snapshot is of last year, when prices, speeds and loads were lower."""
    return arena.ring.registered(arena.trained(payments(ROWS, 2, year=1), seed=5))


def eight_trees(arena: Arena) -> ModelVersion:
    """An isolation forest with 8 trees instead of 100."""
    few = arena.trained(payments(ROWS, 2), seed=5, params={"n_estimators": 8})
    return arena.ring.registered(few)


def uncertified(arena: Arena) -> ModelVersion:
    """A detector that is fitted by code wherever it scores."""
    return arena.ring.registered(arena.trained(payments(500, 2), detector="pyod:KDE"))


def pickled(arena: Arena) -> ModelVersion:
    """Somebody put a pickle into the registry's folder."""
    return _touched(arena, "model.pkl", lambda _: b"cos\nsystem\n(S'true'\ntR.")


def tampered(arena: Arena) -> ModelVersion:
    """One byte of the arrays in the registry is another."""
    return _touched(arena, "arrays.npz", lambda found: found[:-40] + b"?" + found[-39:])


CASES = (
    Case("scores inverted", "injected_recall", inverted),
    Case("one score for all rows", "distinct_scores", constant),
    Case("scores × 1,000 under the old calibration", "alert_rate", thousandfold),
    Case("one column in cents instead of euros", "column_scales", rescaled),
    Case("two columns swapped in the registry", "golden_rows", swapped),
    Case("trained on 1 % of the data", "training_rows", one_percent),
    Case(
        "trained on known anomalies as if they were normal", "known_anomalies", known_anomalies,
        labelled=True,
    ),
    Case("trained on anomalies people had found", "contamination", found_anomalies),
    Case("trained on last year's data", "recent_alert_rate", last_year),
    Case("8 trees instead of 100", "injected_recall", eight_trees, detector="iforest"),
    Case("uncertified detector", "certified", uncertified),
    Case("a pickle beside the model in the registry", "manifest", pickled, REFUSED),
    Case("one byte changed in the registry", "manifest", tampered, REFUSED),
    Case(
        "trained on anomalies nobody labelled", "alert_rate", unlabelled_anomalies, "review"
    ),
    Case(
        "last year's data, nothing scored that can be read again", "alert_rate", last_year,
        "review", recent=False,
    ),
)  # fmt: skip


def told(folder: Path, cases: Sequence[Case] = CASES) -> list[Told]:
    """Put challengers before the gates, against a champion of the detector each case asks for."""

    @cache
    def arena(detector: str, *, recent: bool) -> Arena:
        return Arena(folder / f"{detector}-{recent}", detector, recent=recent)

    return [_told(arena(case.detector, recent=case.recent), case) for case in cases]


def honest(folder: Path, detector: str) -> list[Release]:
    """Retrain a family with other seeds and fresh data, and put each before the gates."""
    arena = Arena(folder, detector)
    snapshots = [payments(ROWS, 100 + number) for number in range(RETRAINS)]
    return [
        arena.ring.release(arena.ring.registered(arena.trained(snapshot, seed=10 + number)))
        for number, snapshot in enumerate(snapshots)
    ]


def sentence(releases: Sequence[Release]) -> str:
    """Return what the documentation says of honest retrains."""
    count = Counter(release.verdict for release in releases)
    verdicts = ", ".join(
        f"{count[verdict]} {verdict}" for verdict in ("pass", "review", "inconclusive", "block")
    )
    return (
        f"{len(releases)} honest retrains of {', '.join(FAMILIES)}, with other seeds and fresh data: "
        f"{verdicts}."
    )


def table(outcomes: Iterable[Told]) -> str:
    """Return the table for the documentation."""
    lines = [
        "| challenger | the release | because of | also asking |",
        "| --- | --- | --- | --- |",
    ]
    for one in outcomes:
        reason = [one.case.seen_by, *(name for name in one.blocking if name != one.case.seen_by)]
        others = [name for name in one.others if name not in reason]
        lines.append(f"| {one.case.name} | {one.verdict} | {_code(reason)} | {_code(others)} |")
    return "\n".join(lines)


def documented() -> str:
    """Return table and sentence as the documentation has them."""
    found = re.search(f"{START}(.*?){END}", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found is not None
    return found[1].strip()


def _told(arena: Arena, case: Case) -> Told:
    version = case.make(arena)
    job = arena.ring.pipeline
    arena.ring.pipeline = labelled(job) if case.labelled else job
    try:
        release = arena.ring.release(version)
    except IntegrityError:
        return Told(case, REFUSED, (), ())
    finally:
        arena.ring.pipeline, arena.ring.judgements = job, Judgements()
    assert (release.state == "blocked") == (release.verdict not in ("pass", "review"))
    by_verdict = [(gate.gate, gate.verdict) for gate in release.gates]
    return Told(
        case,
        release.verdict,
        tuple(name for name, verdict in by_verdict if verdict == "block"),
        tuple(name for name, verdict in by_verdict if verdict in ("review", "inconclusive")),
    )


def _code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def scores_times(model: Model, factor: float) -> Model:
    members = tuple(
        replace(m, normalisation=replace(m.normalisation, std=m.normalisation.std / factor))
        for m in model.members
    )
    return replace(model, members=members)


def _times(snapshot: pa.Table, name: str, factor: float) -> pa.Table:
    place = snapshot.schema.get_field_index(name)
    return snapshot.set_column(place, name, pc.multiply(snapshot.column(name), factor))


def _touched(arena: Arena, name: str, change: Callable[[bytes], bytes]) -> ModelVersion:
    version = arena.ring.registered(arena.trained(payments(500, 2)))
    file = arena.ring.folder / "registry" / version.pipeline / str(version.version) / name
    file.write_bytes(change(file.read_bytes() if file.exists() else b""))
    return version


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        releases = [
            release for family in FAMILIES for release in honest(Path(work) / family, family)
        ]
        fresh = f"{table(told(Path(work)))}\n\n{sentence(releases)}"
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(START)
    _, after = rest.split(END)
    text = f"{before}{START}\n{fresh}\n{END}{after}"
    DOCUMENT.write_text(text, encoding="utf-8")
    print(fresh)
