"""The file MLflow stores with every model (models from code) and runs to load it.

It is copied into the registry as it stands and has to work with later releases of this package:
it uses nothing but :func:`pynomaly.serving.load_scorer`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd  # noqa: TC002  MLflow resolves the hints of predict
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

__all__ = ["PynomalyPyfunc"]


class PynomalyPyfunc(PythonModel):
    """Scores frames: columns ``score`` (higher = stranger) and ``p_value``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model folder, checked against the digest logged with the model."""
        from pynomaly.serving import load_scorer

        digest = context.model_config["manifest_digest"]
        self._scorer = load_scorer(Path(context.artifacts["model"]), digest)

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return one row of scores per row of ``model_input``; there are no parameters."""
        return self._scorer.score(model_input)


set_model(PynomalyPyfunc())
