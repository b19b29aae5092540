"""``pynomaly.detect``: three lines from a file or a DataFrame to explained anomalies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from pynomaly.adapters import anomaly_detection, data_sources, page_reports, table_source
from pynomaly.application.detect import Question
from pynomaly.domain.datasets import ROW_ID
from pynomaly.domain.scores import NO_REASON, Reason
from pynomaly.domain.sources import SourceSpec
from pynomaly.presentation.python.tables import is_pandas, to_table
from pynomaly.settings import resolve_uri, write_text

if TYPE_CHECKING:
    import pandas as pd

    from pynomaly.domain.detection import ColumnUse, Detection, ToLabel
    from pynomaly.domain.trust import Trust

__all__ = ["DetectionResult", "detect"]

KEPT_TOP = 100
"""Strangest rows that get reasons even where they are not flagged."""

_IN_MEMORY = "data"


def detect(
    data: Any,
    *,
    label: str | None = None,
    id: str | Sequence[str] = (),  # noqa: A002  the CLI's name
    time: str | None = None,
    query: str | None = None,
    budget: Literal["quick", "default", "thorough"] = "default",
    alert_budget: float = 0.01,
    detector: str | None = None,
    seed: int = 0,
) -> DetectionResult:
    """Find anomalies in a table; nothing is configured and nothing is stored.

    Args:
        data: Path, folder, glob, ``s3://`` or database URL of rows; or a pandas, polars or pyarrow
            table; or a numpy array of shape (n, d).
        label: Column with 1 = anomaly, 0 = normal, missing = unknown.
        id: Columns that identify a row; rows get ``row_id`` otherwise.
        time: Column that says when it happened.
        query: Table or SELECT statement, for a database.
        budget: How much time the model is worth.
        alert_budget: Share of ordinary rows that may be flagged, 0–1.
        detector: One of ``pynomaly detectors list``, ``pyod:NAME`` among them, which are
            uncertified; the ensemble by default.
        seed: Equal seeds give equal results.

    Raises:
        TypeError: ``data`` is no table, or a column is not named.
        PynomalyError: Its subclasses say what is wrong with the data and how to mend it.

    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 3))
    >>> X[7, 1] = 25
    >>> result = detect(X, budget="quick")
    >>> result.top(1)["row_id"].tolist()
    ['data#8']
    """
    ids = (id,) if isinstance(id, str) else tuple(dict.fromkeys(id))
    for what, name in (("label", label), ("time", time), *(("id", one) for one in ids)):
        if not isinstance(name, str | None):
            raise TypeError(
                f"{what} is the name of a column, a text, and no {type(name).__name__}: values belong "
                "into a column of the data, and columns called by numbers are named like '2'"
            )
    question = Question(
        os.fspath(data) if isinstance(data, str | os.PathLike) else _IN_MEMORY,
        id_columns=ids,
        time_column=time,
        label_column=label,
        budget=budget,
        alert_budget=alert_budget,
        detector=detector,
        top=KEPT_TOP,
        seed=seed,
    )
    if isinstance(data, str | os.PathLike):
        uri = resolve_uri(os.fspath(data), Path.cwd())
        source = data_sources().open(SourceSpec.named(uri, query))
    else:
        source = table_source(to_table(data), _IN_MEMORY)
    scored: list[pa.Table] = []
    refused: list[pa.Table] = []
    found = anomaly_detection()(
        source, question, on_scored=scored.append, on_refused=refused.append
    )
    return DetectionResult(
        found,
        pa.concat_tables(scored).combine_chunks(),
        pa.concat_tables(refused) if refused else None,
        data.index if is_pandas(data) else None,
    )


class DetectionResult:
    """What was found.

    Args:
        found: The facts.
        scored: One row per scored row, in the order of the source.
        refused: Rows that could not be read, with ``reason``; None if there are none.
        index: Of the DataFrame the rows came from; None for other sources.
    """

    def __init__(
        self,
        found: Detection,
        scored: pa.Table,
        refused: pa.Table | None,
        index: pd.Index[Any] | None,
    ) -> None:
        self.found = found
        self.scored = scored
        self.refused = refused
        self._index = index

    @property
    def trust(self) -> Trust:
        """How far to trust the ranking; ``trust.findings`` says it in sentences."""
        return self.found.trust

    @property
    def columns(self) -> tuple[ColumnUse, ...]:
        """What was done with every column, and why."""
        return self.found.columns

    @property
    def to_label(self) -> tuple[ToLabel, ...]:
        """Rows whose labels would help most."""
        return self.found.to_label

    def to_frame(self) -> pd.DataFrame:
        """Return ids, ``score p_value is_anomaly severity reasons``, one row per scored row.

        Rows of a pandas DataFrame keep its index, so that ``frame.join(result.to_frame())`` works.
        """
        frame: pd.DataFrame = self.scored.to_pandas()
        if self._index is not None:
            frame.index = self._index[self._scored_positions()]
        return frame

    def top(self, count: int = 10) -> pd.DataFrame:
        """Return the strangest rows, strangest first, and ``because``: their reasons in words.

        Args:
            count: How many.  The first hundred have reasons even where they are not flagged.
        """
        frame = self.to_frame()
        scores = frame["score"].to_numpy()
        top = frame.iloc[np.argsort(-scores, kind="stable")[:count]].copy()
        known = [[asdict(reason) for reason in row.reasons] for row in self.found.top[:count]]
        top["reasons"] = [*known, *top["reasons"].iloc[len(known) :]]
        top["because"] = [
            ""
            if reasons is None
            else "; ".join(Reason(**reason).sentence for reason in reasons) or NO_REASON
            for reasons in top["reasons"]
        ]
        return top

    def report(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write an HTML page that opens offline.

        Args:
            path: Where to.
            overwrite: Whether a file that is there may be replaced.

        Raises:
            OutputExistsError: The file exists and ``overwrite`` is false.
        """
        target = Path(path).expanduser()
        again = f'pynomaly.detect({self.found.source!r}, label="label")'
        write_text(target, page_reports().detection_html(self.found, again), overwrite=overwrite)
        return target

    def __repr__(self) -> str:
        """Return a few lines for people."""
        found = self.found
        lines = [
            f"{found.source}: {found.flagged:,} of {found.scored:,} rows flagged, "
            f"{found.quarantined:,} could not be read",
            *(f"- {finding}" for finding in found.trust.findings),
        ]
        return "\n".join(lines)

    def _scored_positions(self) -> np.ndarray[Any, Any]:
        """Return where the scored rows stood in the table they came from."""
        scored = np.ones(self.found.rows, dtype=np.bool_)
        if self.refused is not None:
            ids = self.refused.column(ROW_ID).to_pylist()
            scored[[int(row_id.rpartition("#")[2]) - 1 for row_id in ids]] = False
        return np.flatnonzero(scored)
