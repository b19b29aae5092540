"""What a few labels add to label-free detection on public data.

Protocol: as in quality.py (inductive, at most 5,000 rows, 70/30 by class).  A part of the 70 % is
labelled, in these ways:

- 1 % or 5 % of the rows, drawn at random: often few anomalies or none are among them;
- ten anomalies, nothing else known; the same with all other rows, hidden anomalies among them,
  labelled as normal;
- every row;
- 5 % of the rows with labels that mean nothing: one in eight at random;
- three, five, eight or ten rows, drawn at random, called anomalies, nothing else known.

Wins, losses and the Wilcoxon test pair the sets, each set's value averaged over the seeds first.

    python tests/benchmarks/labels.py --data ../shared/data/adbench --csv labels.csv
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from quality import DEFAULT_DATA, Split, splits
from scipy.stats import wilcoxon

from pynomaly.application.ensemble import fit_detector
from pynomaly.application.scoring_rows import score_members
from pynomaly.application.supervised import LabelledRows, fit_supervised
from pynomaly.domain.evaluation import average_precision, roc_auc
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.pyod.fitter import PyodFitter
from pynomaly.infrastructure.pyod.labels import SklearnLabelFitter

Floats = NDArray[np.float64]
Regime = Callable[[NDArray[np.int64], np.random.Generator], Floats]

KERNELS = FrozenKernels()
FITTER, LABELLER = PyodFitter(KERNELS), SklearnLabelFitter(KERNELS)


def share(part: float) -> Regime:
    """Label a share of the rows."""

    def draw(y: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        labels = np.full(len(y), np.nan)
        rows = rng.permutation(len(y))[: max(1, round(part * len(y)))]
        labels[rows] = y[rows]
        return labels

    return draw


def ten_anomalies(others: float) -> Regime:
    """Label ten anomalies, and call all other rows ``others``."""

    def draw(y: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        labels = np.full(len(y), others)
        labels[rng.permutation(np.flatnonzero(y == 1))[:10]] = 1.0
        return labels

    return draw


def useless(y: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """Label 5 % of the rows, an eighth of them as anomalies, without looking at them."""
    labels = np.full(len(y), np.nan)
    rows = rng.permutation(len(y))[: max(6, round(0.05 * len(y)))]
    labels[rows] = 0.0
    labels[rows[: max(2, len(rows) // 8)]] = 1.0
    return labels


def useless_anomalies(count: int) -> Regime:
    """Call a few rows anomalies without looking at them."""

    def draw(y: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        labels = np.full(len(y), np.nan)
        labels[rng.permutation(len(y))[:count]] = 1.0
        return labels

    return draw


REGIMES: dict[str, Regime] = {
    "1 % of rows": share(0.01),
    "5 % of rows": share(0.05),
    "10 anomalies, rest unknown": ten_anomalies(np.nan),
    "10 anomalies, rest 'normal'": ten_anomalies(0.0),
    "every row": share(1.0),
    "useless labels": useless,
    **{f"{count} useless anomalies": useless_anomalies(count) for count in (3, 5, 8, 10)},
}


def measure(part: Split) -> list[dict[str, object]]:
    """Fit label-free once, then with the labels of every regime."""
    members = fit_detector(
        "self_cleaning", {}, part.train, fitter=FITTER, kernels=KERNELS, seed=part.seed
    )
    found = [("label-free", None, "", score_members(members, part.test, KERNELS))]
    for number, (name, draw) in enumerate(REGIMES.items()):
        labels = draw(part.y_train, np.random.default_rng([part.seed, number]))
        rows = LabelledRows.scored(part.train, labels, members, KERNELS)
        taught = fit_supervised(rows, fitter=LABELLER, kernels=KERNELS, seed=part.seed)
        scores = score_members(members, part.test, KERNELS, taught.head)
        found.append((name, labels, taught.reason, scores))
    return [
        {
            "set": part.name,
            "seed": part.seed,
            "regime": name,
            "known_anomalies": 0 if labels is None else int(np.sum(labels == 1)),
            "known_normal": 0 if labels is None else int(np.sum(labels == 0)),
            "roc_auc": roc_auc(part.y_test, scores),
            "average_precision": average_precision(part.y_test, scores),
            "reason": reason,
        }
        for name, labels, reason, scores in found
    ]


def table(rows: list[dict[str, object]]) -> str:
    """Return means, paired wins and losses and the test, regime by regime."""
    sets = sorted({str(row["set"]) for row in rows})

    def by_set(regime: str, metric: str) -> Floats:
        return np.array(
            [
                np.mean([r[metric] for r in rows if r["set"] == s and r["regime"] == regime])
                for s in sets
            ]
        )

    before = by_set("label-free", "average_precision")
    lines = [f"{'labels':28s}  ROC-AUC     AP   used  won/lost  largest loss  p (Wilcoxon)"]
    for regime in ("label-free", *REGIMES):
        after = by_set(regime, "average_precision")
        text = f"{regime:28s}  {by_set(regime, 'roc_auc').mean():7.3f}  {after.mean():5.3f}"
        if regime != "label-free":
            gain = after - before
            mine = [row for row in rows if row["regime"] == regime]
            used = np.mean([str(row["reason"]).startswith("Labels") for row in mine])
            p = wilcoxon(gain).pvalue if np.any(gain) else 1.0
            text += (
                f"  {used:5.0%}  {np.sum(gain > 0.001):3d}/{np.sum(gain < -0.001):<4d}"
                f"  {min(0.0, gain.min()):12.3f}  {p:12.2g}"
            )
        lines.append(text)
    return "\n".join(lines)


def main() -> None:
    """Measure every set with every seed, print the table and write the values."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="part of a set's name")
    parser.add_argument("--csv", type=Path)
    chosen = parser.parse_args()
    rows: list[dict[str, object]] = []
    for part in splits(chosen.data, chosen.seeds, chosen.only):
        rows += measure(part)
    print(f"{len({row['set'] for row in rows})} sets, {chosen.seeds} seeds")
    print(table(rows))
    if chosen.csv:
        with chosen.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
