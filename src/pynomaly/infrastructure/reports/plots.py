"""Plots as PNG files, drawn on figures of their own: no window system, no global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.evaluation import average_precision

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pynomaly.application.ports.learning import Trial

__all__ = ["MatplotlibPlots"]

# Readable for colour-blind people: Okabe and Ito (2008).
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#6b7280"


class MatplotlibPlots:
    """Implements :class:`pynomaly.application.ports.reporting.Plots`."""

    def score_distribution(
        self, scores: NDArray[np.float64], threshold: float | None, path: Path
    ) -> None:
        """Histogram of calibration scores with the alert threshold.

        Args:
            scores: (n,) higher = stranger.
            threshold: From where a row is flagged; None to draw none.
            path: PNG file to write.
        """
        figure, axes = _figure("Scores of held-out rows")
        finite = scores[np.isfinite(scores)]
        bins = int(np.clip(np.sqrt(len(finite)), 10, 80))
        counts, _, _ = axes.hist(finite, bins=bins, color=_BLUE, alpha=0.85)
        if threshold is not None and np.isfinite(threshold):
            flagged = int((finite >= threshold).sum())
            axes.axvline(
                threshold,
                color=_ORANGE,
                linestyle="--",
                label=f"alert from {threshold:.3g}: {flagged:,} of {len(finite):,} rows",
            )
            axes.legend(frameon=False)
        axes.set_xlabel("score (higher = stranger)")
        axes.set_ylabel("rows, log scale")
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(0, 4 * max(float(np.max(counts)), 1.0))  # room for the legend
        _save(figure, path)

    def tuning_history(self, trials: Sequence[Trial], path: Path) -> None:
        """Objective by trial with the best so far; the incumbent marked.

        Args:
            trials: In order; those without a value are marked at the bottom.
            path: PNG file to write.
        """
        from matplotlib.ticker import MaxNLocator

        figure, axes = _figure("Tuning")
        done = [(trial.number, trial.value) for trial in trials if trial.value is not None]
        failed = [trial.number for trial in trials if trial.value is None]
        if done:
            numbers, values = np.array(done, dtype=np.float64).T
            axes.scatter(numbers, values, color=_BLUE, s=24, label="trial", zorder=3)
            axes.step(
                numbers, np.maximum.accumulate(values), where="post", color=_GREY,
                label="best so far",
            )  # fmt: skip
            if numbers[0] == 0:
                axes.scatter(
                    [0], [values[0]], marker="D", s=64, color=_ORANGE, label="incumbent", zorder=4
                )
        if failed:
            bottom = np.full(len(failed), 0.02)
            axes.scatter(
                failed, bottom, marker="x", color=_GREY, label="failed or pruned",
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
        if trials:
            axes.legend(frameon=False)
            axes.set_xlim(-0.5, max(trial.number for trial in trials) + 0.5)
        axes.set_xlabel("trial")
        axes.set_ylabel("objective (higher is better)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _save(figure, path)

    def precision_recall(
        self, labels: NDArray[np.int_], scores: NDArray[np.float64], path: Path
    ) -> None:
        """Precision–recall curve with average precision in the title.

        Args:
            labels: (n,) 1 = anomaly, 0 = normal; at least one anomaly.
            scores: (n,) higher = stranger.
            path: PNG file to write.
        """
        precision, recall = _precision_recall(labels, scores)
        base_rate = float(np.mean(labels))
        figure, axes = _figure(f"Average precision {average_precision(labels, scores):.3f}")
        axes.step(recall, precision, where="pre", color=_BLUE, label="model")
        axes.axhline(base_rate, color=_GREY, linestyle=":", label=f"guessing ({base_rate:.1%})")
        axes.set_xlim(0, 1.01)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("recall: share of the anomalies found")
        axes.set_ylabel("precision: share of the alerts that are right")
        axes.legend(frameon=False, loc="lower left")
        _save(figure, path)


def _precision_recall(
    labels: NDArray[np.int_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return precision and recall at every distinct score, strictest first; ties share a point."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    found = np.cumsum(labels[order])[ends].astype(np.float64)
    precision, recall = found / (ends + 1), found / labels.sum()
    return np.append(precision[0], precision), np.append(0.0, recall)


def _figure(title: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.0), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e7eb")
    axes.set_axisbelow(True)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    # Agg by name: a backend chosen in the environment may need a display.  No software tag: equal
    # plots are equal bytes.
    figure.savefig(path, format="png", backend="agg", metadata={"Software": None})
