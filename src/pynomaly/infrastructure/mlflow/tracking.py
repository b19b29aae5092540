"""Logs what a training run knew: parameters, metrics, trials and files, in few round trips."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from pynomaly.domain.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    from pynomaly.application.ports.registry import Registration

__all__ = ["TRIALS_FILE", "experiment_of", "log_run"]

TRIALS_FILE = "tuning/trials.json"

_T = TypeVar("_T")


def experiment_of(client: MlflowClient, pipeline: str, artifact_location: str | None) -> str:
    """Return the id of the pipeline's experiment, which is created at first use.

    Args:
        client: Where.
        pipeline: Name of the experiment.
        artifact_location: Of a new experiment; None leaves it to the server.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(pipeline)
    if found is None:
        try:
            return str(client.create_experiment(pipeline, artifact_location=artifact_location))
        except MlflowException as error:
            # Another process was faster.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(pipeline)
    if found is None or found.lifecycle_stage != "active":
        raise ConfigurationError(
            f"the MLflow experiment {pipeline!r} is deleted",
            hint="restore it with `mlflow experiments restore -x <id>`, or purge it with "
            "`mlflow gc`",
        )
    return str(found.experiment_id)


def log_run(client: MlflowClient, run_id: str, registration: Registration) -> None:
    """Log everything of ``registration`` but the model folder.

    Args:
        client: Where.
        run_id: MLflow run that takes it.
        registration: Parameters, metrics, trials and artifacts.
    """
    from mlflow.entities import Metric, Param

    now = time.time_ns() // 1_000_000
    # MLflow takes at most 100 parameters and 1,000 metrics at once.
    for params in _chunks((Param(k, v) for k, v in registration.params.items()), 100):
        client.log_batch(run_id, params=params)
    metrics = [Metric(k, float(v), now, 0) for k, v in registration.metrics.items()]
    for batch in _chunks([*metrics, *_objective_history(registration.trials, now)], 1_000):
        client.log_batch(run_id, metrics=batch)
    with tempfile.TemporaryDirectory(prefix="pynomaly-mlflow-") as staging:
        _stage(registration, Path(staging))
        if any(Path(staging).iterdir()):
            client.log_artifacts(run_id, staging)
    if registration.trials:
        # This tag is what makes MLflow's user interface show the file as a table.
        shown = json.dumps([{"path": TRIALS_FILE, "type": "table"}])
        client.set_tag(run_id, "mlflow.loggedArtifacts", shown)


def _objective_history(trials: Sequence[Mapping[str, object]], now: int) -> Iterator[Metric]:
    """Yield the objective as a metric whose step is the trial's number; failed trials have none."""
    from mlflow.entities import Metric

    for index, trial in enumerate(trials):
        value, number = trial.get("value"), trial.get("number", index)
        if isinstance(value, int | float) and math.isfinite(value) and isinstance(number, int):
            yield Metric("tuning_objective", float(value), now, number)


def _stage(registration: Registration, folder: Path) -> None:
    """Lay all files out as they shall appear, so that one call uploads them."""
    for name, local in registration.artifacts.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise UsageError(
                f"artifact path {name!r} leaves the run's artifacts",
                hint="use a relative path such as reports/validation.html",
            )
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local, target)
    if registration.trials:
        columns = list(dict.fromkeys(key for trial in registration.trials for key in trial))
        rows = [[_plain(trial.get(key)) for key in columns] for trial in registration.trials]
        target = folder / TRIALS_FILE
        target.parent.mkdir(parents=True, exist_ok=True)
        # The layout of `mlflow.log_table`, which `mlflow.load_table` reads.
        target.write_text(json.dumps({"columns": columns, "data": rows}), encoding="utf-8")


def _plain(value: object) -> object:
    """Return a JSON value; parameters of a trial become text, so that the table stays flat."""
    if isinstance(value, Mapping):
        return json.dumps(dict(value), sort_keys=True, default=str)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
