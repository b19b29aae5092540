"""A detector of another package is found by its entry point and used like one of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "example_extension"

WHOLE_WAY = """
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from pynomaly.application.fit import FitScorer
from pynomaly.application.gates.integrity import certified
from pynomaly.application.train import FitModel
from pynomaly.application.tune import ChooseDetector, TuneDetector
from pynomaly.adapters import detector_fitter, detector_kernels, label_fitter, model_folders
from pynomaly.domain.datasets import Dataset, Fingerprint, Snapshot
from pynomaly.infrastructure.arrow.outputs import ParquetDatasetStore
from pynomaly.infrastructure.filesystem.targets import open_local_target
from pynomaly.infrastructure.optuna.tuner import OptunaTuner
from pynomaly.serving import load_scorer
from pynomaly.settings import load_settings, parse_pipeline
from pynomaly.testing import check_detector

pipeline = parse_pipeline(
    "p",
    "source: rows.csv\\n"
    "columns: {a: numeric, b: numeric}\\n"
    "training: {detectors: [robust_distance], trials: 3}\\n",
    load_settings(),
)
rows = np.random.default_rng(0).normal(size=(400, 2))
store = ParquetDatasetStore(Path("datasets"), open_local_target)
with store.writer("rows") as writer:
    writer.write(pa.table({"a": rows[:, 0], "b": rows[:, 1]}))
snapshot = Snapshot("rows.csv", Fingerprint("c", "s"), (), len(rows), 1)
dataset = Dataset(writer.uri, snapshot, len(rows), None, 0)

kernels = detector_kernels()
fitter = detector_fitter(kernels)
choose = ChooseDetector(fitter, kernels, OptunaTuner(Path("studies")))
choice = TuneDetector(store, choose)(pipeline, dataset, "run")
fit_scorer = FitScorer(fitter, label_fitter(kernels), kernels)
fit = FitModel(store, fit_scorer, model_folders(), Path("models"))
trained = fit(pipeline, dataset, choice, "run")
model = model_folders().load(Path(trained.folder), trained.manifest_digest)
scores = load_scorer(Path(trained.folder), trained.manifest_digest).score(
    pd.DataFrame({"a": [0.0, 9.0], "b": [0.0, 9.0]})
)["score"]
check_detector("robust_distance")
print(json.dumps({
    "tried": sorted({trial.params["power"] for trial in choice.trials}),
    "members": [member.detector for member in model.members],
    "version": model.card.library_versions["pynomaly-example-detector"],
    "stranger": bool(scores[1] > scores[0]),
    "gate": certified(model).sentence,
}))
"""


def install(folder: Path, *, entry_points: dict[str, str] | None = None, name: str = "") -> None:
    """Lay a package out as pip would, from its pyproject.toml, without building anything."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    name = name or project["name"]
    for module in (EXAMPLE / "src").glob("*.py"):
        shutil.copy(module, folder)
    info = folder / f"{name.replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {project['version']}\n"
    )
    points = entry_points or project["entry-points"]["pynomaly.detectors"]
    lines = [f"{key} = {value}" for key, value in points.items()]
    info.joinpath("entry_points.txt").write_text("\n".join(["[pynomaly.detectors]", *lines]))


def run(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    work = folder / "work"
    work.mkdir()
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=work,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_example_package_is_configured_fitted_saved_loaded_and_scored(tmp_path):
    install(tmp_path)

    done = run(tmp_path, WHOLE_WAY)

    assert done.returncode == 0, done.stderr
    assert '"members": ["robust_distance"]' in done.stdout
    assert '"tried": [1, 2]' in done.stdout
    assert '"version": "1.0"' in done.stdout
    assert '"stranger": true' in done.stdout
    assert "robust_distance (pynomaly-example-detector 1.0 says so)" in done.stdout


def test_without_the_package_its_detector_is_unknown(tmp_path):
    done = run(tmp_path, "from pynomaly.domain.detectors import detector\ndetector('robust_dist')")
    assert "ConfigurationError: unknown detector 'robust_dist'" in done.stderr


@pytest.mark.parametrize(
    ("entry_points", "asked", "message"),
    [
        ({"broken": "robust_distance:nothing"}, "broken", "cannot be loaded: AttributeError"),
        ({"broken": "missing_module:X"}, "broken", "cannot be loaded: ModuleNotFoundError"),
        ({"broken": "robust_distance:fit"}, "broken", "resolves to a function"),
        ({"other": "robust_distance:DETECTOR"}, "other", "calls itself 'robust_distance'"),
        ({"Other": "robust_distance:DETECTOR"}, "Other", "has no usable name"),
        ({"knn": "robust_distance:DETECTOR"}, "knn", "calls itself 'robust_distance'"),
    ],
)
def test_a_broken_package_is_named_when_its_detector_is_asked_for(
    tmp_path, entry_points, asked, message
):
    install(tmp_path, entry_points=entry_points)

    done = run(
        tmp_path,
        "from pynomaly.domain.detectors import detector\n"
        f"assert detector('iforest').certified\ndetector({asked!r})",
    )

    assert message in done.stderr
    assert "package pynomaly-example-detector 1.0" in done.stderr


def test_a_name_of_ours_cannot_be_taken(tmp_path):
    install(tmp_path, entry_points={"knn": "taken:DETECTOR"})
    (tmp_path / "taken.py").write_text(
        "from dataclasses import replace\n"
        "from robust_distance import DETECTOR as D\n"
        "DETECTOR = replace(D, entry=replace(D.entry, name='knn'))\n"
    )
    done = run(tmp_path, "from pynomaly.domain.detectors import detector\ndetector('knn')")
    assert "pynomaly-example-detector 1.0 brings a detector 'knn', which is built in" in done.stderr


def test_two_packages_cannot_bring_the_same_detector(tmp_path):
    install(tmp_path)
    install(tmp_path, name="another-package")
    done = run(
        tmp_path, "from pynomaly.domain.detectors import detector\ndetector('robust_distance')"
    )
    assert "declared by several packages" in done.stderr
    assert "another-package 1.0" in done.stderr
    assert "pynomaly-example-detector 1.0" in done.stderr
