"""The whole lifecycle on real data, with the truth beside the answer."""

from __future__ import annotations

import csv
import shlex
import shutil
import sys
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pynomaly_flows.context import Event, Listener, emit, platform
from pynomaly_flows.demo_data import ID_COLUMN, Batch, DemoData, prepare_demo
from pynomaly_flows.launch import EngineChoice, launch, orchestrated
from pynomaly_flows.runs import Document

if TYPE_CHECKING:
    from pynomaly.settings import Settings

__all__ = ["PIPELINE", "demo"]

PIPELINE = "biopsies"

_ABOUT = """\
# The demo's pipeline: what `pynomaly init` derives from data/training.csv, with policies of its own
# because its data are so few:
# - 4 of 59 rows of one batch are broken on purpose, more than the usual 5 %;
# - gates that compare two models usually want 1,000 held-out rows, here there are about 50;
# - one row in ten may be flagged: of 55 rows, a budget of 1 % would flag none;
# - a new version serves at once: so few rows would never take a canary a step further;
# - no time limit, so that every machine finds the same model.

"""


def demo(
    folder: Path, *, engine: EngineChoice = "prefect", on_event: Listener | None = None
) -> Document:
    """Train on a snapshot, release the model, score later batches, and compare with the truth.

    Args:
        folder: Project folder of the demo; where one has run already, the next free number is
            added to its name, so that every demo begins with nothing.
        engine: All runs share one start of it.
        on_event: Told of every step.

    Returns:
        ``training`` (the run's document), ``batches`` (each with what was scored, flagged and
        caught), ``overall`` over all batches, ``report`` and ``next``.
    """
    from pynomaly.settings import load_settings

    folder = _untouched(folder)
    (folder / "conf" / "pipelines").mkdir(parents=True, exist_ok=True)
    data = prepare_demo(folder)
    settings = load_settings(folder)
    with orchestrated(settings, engine, on_event):
        _configure(settings, data)
        training = launch("run", PIPELINE, settings)
        truth = _Truth(data.labels)
        batches = [_score(batch, settings, truth) for batch in data.batches]
    return {
        "pipeline": PIPELINE,
        "folder": str(folder),
        "engine": training["engine"],
        "training": training,
        "batches": batches,
        "overall": truth.overall(),
        "report": training["report"],
        "next": _next(folder, data),
    }


def _untouched(folder: Path) -> Path:
    """Return the folder, or the next of its name, in which no demo has run."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
    file = Path("conf", "pipelines", f"{PIPELINE}.yaml")
    return next(place for place in chain([folder], numbered) if not (place / file).exists())


def _configure(settings: Settings, data: DemoData) -> None:
    """Write the pipeline's file as ``pynomaly init`` would."""
    from pynomaly.domain.drafting import draft_pipeline
    from pynomaly.domain.sources import SourceSpec
    from pynomaly.settings import render_pipeline, write_text

    emit(Event("started", "prepare"))
    profile = platform().profile_source(SourceSpec(str(data.training)), id_columns=(ID_COLUMN,))
    source = SourceSpec(str(data.training.relative_to(data.folder)))
    draft = draft_pipeline(PIPELINE, source, profile, id_columns=(ID_COLUMN,))
    pipeline = replace(
        draft,
        validation=replace(draft.validation, max_quarantine_share=0.10),
        training=replace(draft.training, trials=12, timeout_seconds=None),
        release=replace(draft.release, min_gate_rows=50),
        rollout=replace(draft.rollout, strategy="direct"),
        decision=replace(draft.decision, budget=0.10),
    )
    text = _ABOUT + render_pipeline(pipeline)
    write_text(settings.pipelines / f"{PIPELINE}.yaml", text, overwrite=False)
    emit(Event("finished", "prepare", {"rows": profile.rows, "batches": len(data.batches)}))


def _score(batch: Batch, settings: Settings, truth: _Truth) -> Document:
    name = batch.path.stem
    out = settings.home / "scores" / PIPELINE / f"{name}.parquet"
    run = launch(
        "score",
        PIPELINE,
        settings,
        params={"data": str(batch.path), "out": str(out), "overwrite": True},
    )
    validated, scored = run["steps"]["validate"], run["steps"]["score"]
    return {
        "name": name,
        "story": batch.story,
        "rows_in": scored["rows_in"],
        "rows_quarantined": scored["rows_quarantined"],
        "rows_scored": scored["rows_scored"],
        "rows_flagged": scored["rows_flagged"],
        "warnings": validated["warnings"],
        **truth.judge(out),
        "output_uri": scored["output_uri"],
        "run_id": run["run_id"],
        "report": run["report"],
    }


class _Truth:
    """The labels that were held back, and everything judged by them so far."""

    def __init__(self, labels: Path) -> None:
        with labels.open(newline="", encoding="utf-8") as file:
            self._malignant = {
                row[ID_COLUMN]: int(row["malignant"]) for row in csv.DictReader(file)
            }
        self._judged: list[dict[str, Any]] = []

    def judge(self, scored: Path) -> Document:
        """Compare scored rows with the truth."""
        import pyarrow.parquet as pq

        table = pq.read_table(scored, columns=[ID_COLUMN, "score", "is_anomaly"])
        rows = [{**row, "malignant": self._malignant[row[ID_COLUMN]]} for row in table.to_pylist()]
        self._judged += rows
        return _compare(rows)

    def overall(self) -> Document:
        """Return the same over all batches together."""
        return _compare(self._judged)


def _compare(rows: list[dict[str, Any]]) -> Document:
    import numpy as np

    from pynomaly.domain.evaluation import average_precision, roc_auc

    labels = np.array([row["malignant"] for row in rows], dtype=np.int64)
    scores = np.array([row["score"] for row in rows], dtype=np.float64)
    flagged = np.array([row["is_anomaly"] for row in rows], dtype=np.bool_)
    return {
        "anomalies": int(labels.sum()),
        "caught": int((flagged & (labels == 1)).sum()),
        "false_alarms": int((flagged & (labels == 0)).sum()),
        "roc_auc": roc_auc(labels, scores),
        "average_precision": average_precision(labels, scores),
    }


def _next(folder: Path, data: DemoData) -> list[str]:
    first = data.batches[0].path.relative_to(folder)
    # After `make demo` the environment is not activated.
    beside = Path(sys.executable).with_name("pynomaly")
    program = "pynomaly" if shutil.which("pynomaly") else shlex.quote(str(beside))
    return [
        f"cd {shlex.quote(str(folder))}",
        f"{program} history {PIPELINE}",
        f"{program} score {PIPELINE} --data {first} --out scored.parquet",
    ]
