"""Loads a model folder and scores pandas frames.

Composes the adapters it needs itself, beside ``bootstrap``: a process that serves a model has a
folder and a digest, but none of the platform's settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pynomaly.domain.errors import DataRejectedError
from pynomaly.domain.models import Model

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from pynomaly.application.ports.learning import Kernels

__all__ = ["Scorer", "load_scorer"]


@dataclass(frozen=True, slots=True)
class Scorer:
    """A model that is ready to score.

    Args:
        model: What to score with.
        kernels: How.
    """

    model: Model
    kernels: Kernels

    def score(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return ``score`` (higher = stranger) and its conformal ``p_value`` for every row.

        Values are read as the platform reads a source: integers as numbers, whole floats of a
        text column as their digits, naive timestamps as UTC.  Other columns are ignored.

        Args:
            frame: At least the model's feature columns, in any order.

        Returns:
            float64 columns ``score`` and ``p_value`` with the index of ``frame``.

        Raises:
            DataRejectedError: A column is missing, or a cell cannot be read as declared.
        """
        import pandas as pd

        from pynomaly.application.scoring_rows import score_table
        from pynomaly.domain.scores import p_values

        scores = score_table(self.model, self._conformed(frame), self.kernels)
        return pd.DataFrame(
            {"score": scores, "p_value": p_values(self.model.calibration, scores)},
            index=frame.index,
        )

    def _conformed(self, frame: pd.DataFrame) -> pa.Table:
        """Return the schema's columns with the types the model was fitted on."""
        import pyarrow as pa

        from pynomaly.application.conform import conform
        from pynomaly.domain.datasets import ROW_ID
        from pynomaly.domain.pipelines import Pipeline
        from pynomaly.domain.sources import SourceSpec

        schema, name = self.model.schema, self.model.card.pipeline
        missing = [column for column in schema.names if column not in frame.columns]
        if missing:
            raise DataRejectedError(
                f"columns missing for the model of '{name}': {', '.join(missing)}",
                hint=f"it needs {', '.join(schema.names)}",
            )
        columns = {ROW_ID: pa.array(range(len(frame)), pa.int64())}
        for column in schema.names:
            columns[column] = _cells(frame, column)
        # A pipeline of feature columns only: ids and labels are no business of a scorer.
        features = Pipeline(name, SourceSpec("pandas.DataFrame"), schema)
        table, failures = conform(pa.table(columns), features)
        if failures:
            first = failures[0]
            raise DataRejectedError(
                f"{len(failures)} cells cannot be scored; row {first.position}: {first.reason}",
                hint="mend or drop these rows, or use `pynomaly score`, which quarantines them",
            )
        return table


def _cells(frame: pd.DataFrame, column: str) -> pa.Array:
    """Return one column as Arrow infers it; reading it as declared comes later."""
    import pandas as pd
    import pyarrow as pa

    times = list(frame.columns).count(column)
    if times > 1:
        raise DataRejectedError(f"column '{column}' occurs {times} times", hint="keep one of them")
    cells = frame[column]
    if isinstance(cells.dtype, pd.DatetimeTZDtype):
        # Naive times are read as UTC; pyarrow would drop the zone as well, in a way that pandas 3
        # deprecates.
        cells = cells.dt.tz_convert(None)
    try:
        return pa.array(cells, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataRejectedError(
            f"column '{column}' mixes types: {error}",
            hint="convert it to one type, e.g. frame[column].astype(str)",
        ) from error


def load_scorer(folder: Path, manifest_digest: str) -> Scorer:
    """Read a model folder, every byte checked, and return what scores with it.

    Args:
        folder: A model folder.
        manifest_digest: sha256 of its ``MANIFEST.sha256``, from a place you trust.

    Raises:
        IntegrityError: The folder is not what the digest says.
    """
    from pynomaly.infrastructure.kernels import FrozenKernels
    from pynomaly.infrastructure.modelfolder import FolderModelStore
    from pynomaly.infrastructure.pyod.uncertified import RefittedDetectors

    kernels = FrozenKernels(uncertified=RefittedDetectors().score)
    return Scorer(FolderModelStore().load(folder, manifest_digest), kernels)
