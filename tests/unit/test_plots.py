"""Plots: real PNG files, drawn without a display and without pyplot."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pynomaly.application.ports.learning import Trial
from pynomaly.application.ports.reporting import Plots
from pynomaly.infrastructure.reports import MatplotlibPlots
from pynomaly.infrastructure.reports.plots import _precision_recall


@pytest.fixture(scope="module")
def plots() -> Plots:
    return MatplotlibPlots()


def size(png: Path) -> tuple[int, int]:
    content = png.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


@pytest.mark.parametrize("threshold", [1.9, None])
@pytest.mark.parametrize("rows", [1, 2_000])
def test_score_distribution_is_a_readable_png(
    plots: Plots, tmp_path: Path, rows: int, threshold: float | None
) -> None:
    scores = np.random.default_rng(0).normal(size=rows)
    plots.score_distribution(scores, threshold, tmp_path / "s.png")
    assert size(tmp_path / "s.png") == (864, 480)


def test_a_threshold_shows(plots: Plots, tmp_path: Path) -> None:
    scores = np.random.default_rng(0).normal(size=500)
    plots.score_distribution(scores, None, tmp_path / "without.png")
    plots.score_distribution(scores, 1.5, tmp_path / "with.png")
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()


@pytest.mark.parametrize(
    "values", [[0.5, None, 0.7, 0.6], [0.5], [None], []], ids=["mixed", "one", "failed", "none"]
)
def test_tuning_history_takes_any_course_of_a_study(
    plots: Plots, tmp_path: Path, values: list[float | None]
) -> None:
    trials = [Trial(number, "iforest", {}, value, 0.1) for number, value in enumerate(values)]
    plots.tuning_history(trials, tmp_path / "t.png")
    assert size(tmp_path / "t.png") == (864, 480)


def test_precision_recall_draws_what_average_precision_sums(plots: Plots, tmp_path: Path) -> None:
    labels, scores = np.array([0, 1, 0, 1, 0]), np.array([0.1, 0.9, 0.9, 0.4, 0.2])
    precision, recall = _precision_recall(labels, scores)
    assert precision.tolist() == pytest.approx([1 / 2, 1 / 2, 2 / 3, 2 / 4, 2 / 5])
    assert recall.tolist() == [0.0, 0.5, 1.0, 1.0, 1.0]
    plots.precision_recall(labels, scores, tmp_path / "p.png")
    assert size(tmp_path / "p.png") == (864, 480)


def test_equal_input_gives_equal_bytes(plots: Plots, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        plots.score_distribution(np.arange(50.0), 45.0, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_importing_reports_imports_neither_matplotlib_nor_jinja_nor_pyplot_ever(
    tmp_path: Path,
) -> None:
    code = f"""
import sys
from pathlib import Path
import numpy as np
from pynomaly.infrastructure.reports import MatplotlibPlots
assert not {{"matplotlib", "jinja2"}} & set(sys.modules)
MatplotlibPlots().score_distribution(np.arange(9.0), None, Path({str(tmp_path / "x.png")!r}))
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
