"""Wraps a model folder as an MLflow pyfunc, so that other people's tools can use it.

The pyfunc is *models from code*: MLflow stores the file ``pynomaly/serving/mlflow_model.py`` and
our folder beside it, and no pickle.  The file calls our own loader, which checks every byte of
the folder against the manifest digest stored in the pyfunc's ``model_config``.
"""

from __future__ import annotations

import shutil
import warnings
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pynomaly.domain.errors import IntegrityError
from pynomaly.version import __version__

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import Model as MlflowModel
    from mlflow.models import ModelSignature

    from pynomaly.application.ports.registry import Registration

__all__ = ["MODEL_SUBFOLDER", "check", "save"]

MODEL_SUBFOLDER = "artifacts/model"
"""Where our folder lies within the logged model."""


def save(registration: Registration, description: MlflowModel, folder: Path) -> None:
    """Write the pyfunc to the new local folder ``folder``.

    Args:
        registration: Model folder, its digest and an example.
        description: What MLflow calls a model: ids under which it will be found.
        folder: Must not exist.
    """
    import mlflow.pyfunc

    # MLflow names the artifact after the folder's own name.
    model = folder.parent / "staged" / "model"
    shutil.copytree(registration.folder, model)
    # A path, not an import: infrastructure must not import the composition above it, and MLflow
    # only copies the file.
    source = files("pynomaly").joinpath("serving/mlflow_model.py")
    with as_file(source) as code, warnings.catch_warnings():
        # MLflow 3.17 compares column names with a range, which pandas 3 deprecates.
        warnings.filterwarnings("ignore", message="Operation with range is deprecated")
        mlflow.pyfunc.save_model(
            path=str(folder),
            mlflow_model=description,
            python_model=str(code),
            artifacts={"model": str(model)},
            model_config={"manifest_digest": registration.manifest_digest},
            signature=_signature(registration),
            input_example=_example(registration),
            # Given, because MLflow otherwise spends 20 s on guessing them.
            pip_requirements=[f"pynomaly-platform=={__version__}"],
        )


def _example(registration: Registration) -> pd.DataFrame:
    """Return the example with None for missing cells: NaN would make its JSON invalid."""
    frame = registration.example.to_pandas()
    objects: pd.DataFrame = frame.astype(object)
    return objects.where(frame.notna(), None)


def _signature(registration: Registration) -> ModelSignature:
    """Name the columns, and leave their types to our conversion.

    MLflow's own types refuse what people have in their frames: integers for a float column,
    missing booleans, timestamps with a zone.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    anything = AnyType()  # type: ignore[no-untyped-call]
    return ModelSignature(
        inputs=Schema([ColSpec(anything, name) for name in registration.example.column_names]),
        outputs=Schema([ColSpec("double", "score"), ColSpec("double", "p_value")]),
    )


def check(folder: Path, registration: Registration) -> None:
    """Load a fetched pyfunc as a stranger would, and let it score the example.

    MLflow registers broken models without a word; this is what notices.

    Raises:
        IntegrityError: It does not load, does not predict, or predicts something else than one
            finite score and one p-value per row.
    """
    import mlflow.pyfunc
    import pandas as pd

    name = registration.pipeline
    hint = "nothing was registered; train again, and report this if it comes back"
    try:
        predicted = mlflow.pyfunc.load_model(str(folder)).predict(registration.example.to_pandas())
    except Exception as error:
        # Whatever a stored model raises here, it would raise for everybody who loads it.
        raise IntegrityError(
            f"the model of {name!r} does not work once stored: {type(error).__name__}: {error}",
            hint=hint,
        ) from error
    rows = registration.example.num_rows
    if (
        not isinstance(predicted, pd.DataFrame)
        or list(predicted.columns) != ["score", "p_value"]
        or len(predicted) != rows
        or not np.isfinite(predicted.to_numpy(dtype=np.float64)).all()
    ):
        raise IntegrityError(
            f"the model of {name!r} does not score once stored: expected {rows} rows of finite "
            f"score and p_value, got {predicted!r:.200}",
            hint=hint,
        )
