"""Do reasons name the columns that were tampered with, and what does a reason cost?

Normal rows of public data are disturbed in known columns, and the reasons of the scored rows are
compared with them.  Recall is the share of disturbed columns among as many top reasons, averaged
over rows, then sets and seeds.

- ``1 shift``, ``2 shifts``, ``3 shifts``: that many columns moved by 6 robust deviations
  (IQR/1.349; the standard deviation where that is 0), up or down.
- ``together``: two columns that go together (rank correlation of at least .9 in size) moved by 6
  robust deviations each, in the direction in which they do; only sets that have such columns.
- ``swap``: one cell replaced by another row's, so that every value is ordinary and only the
  combination is strange; only rows that this makes cross the 1 % alert line count.

Columns with one or two values are never disturbed: six deviations of a constant are nothing, and of
a flag no value it could have.  Sets without any other column, and those wider than 100, are left out.

Beside our reasons stand the size of the deviation alone, which does not know the model, and, where
``shap`` can be imported and the model is one isolation forest, exact TreeSHAP of the same forest.

    python tests/benchmarks/reasons.py --data ../shared/data/adbench [--csv reasons.csv] [--speed]
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import spearmanr

from pynomaly.application.ensemble import fit_detector
from pynomaly.application.explain import explain, without_the_strangest
from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.application.scoring_rows import score_matrix
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.models import Model, ModelCard
from pynomaly.domain.scores import calibrate
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.pyod import PyodFitter

Floats = NDArray[np.float64]
Ranking = Callable[[Floats], NDArray[np.int64]]

DEFAULT_DATA = Path(__file__).parents[3] / "shared" / "data" / "adbench"
MAX_ROWS, MAX_COLUMNS, FIT_SHARE, DISTURBED, DEVIATIONS = 5_000, 100, 0.7, 100, 6.0
KERNELS = FrozenKernels()


def table_of(X: Floats) -> pa.Table:
    """Return a matrix as a conformed table."""
    return pa.table({f"x{i}": X[:, i] for i in range(X.shape[1])})


def model_of(detector: str, X: Floats, seed: int) -> Model:
    """Return a model as a pipeline would fit it."""
    schema = Schema(tuple(Column(f"x{i}", "numeric") for i in range(X.shape[1])))
    preprocessing = fit_preprocessing(table_of(X), schema)
    encoded = encode(preprocessing, table_of(X))
    members = fit_detector(
        detector, {}, encoded, fitter=PyodFitter(KERNELS), kernels=KERNELS, seed=seed,
        floors=preprocessing.floors,
    )  # fmt: skip
    preprocessing = without_the_strangest(preprocessing, members, KERNELS)
    card = ModelCard("benchmark", "r", detector, {}, "f", len(X), seed, {})
    model = Model(card, schema, preprocessing, members, calibrate(np.zeros(1)))
    return Model(
        card, schema, preprocessing, members, calibrate(score_matrix(model, encoded, KERNELS))
    )


def scores_of(model: Model, X: Floats) -> Floats:
    """Return (n,) scores of raw rows."""
    return score_matrix(model, encode(model.preprocessing, table_of(X)), KERNELS)


def our_ranking(model: Model, d: int) -> Ranking:
    """Return the columns by our reasons; columns that are no reason come last."""

    def rank(X: Floats) -> NDArray[np.int64]:
        table = table_of(X)
        encoded = encode(model.preprocessing, table)
        scores = score_matrix(model, encoded, KERNELS)
        found = []
        for reasons in explain(model, table, encoded, scores, KERNELS, top=d).to_lists():
            named = [int(reason.column[1:]) for reason in reasons]
            found.append([*named, *(c for c in range(d) if c not in named)])
        return np.array(found)

    return rank


def shap_ranking(X: Floats, seed: int) -> Ranking | None:
    """Return the columns by TreeSHAP of the forest that our fitter freezes; None without shap."""
    try:
        import shap
    except ImportError:
        return None
    from pyod.models.iforest import IForest

    forest = IForest(random_state=seed).fit(X)
    explainer = shap.TreeExplainer(forest.detector_)
    # It explains the path length: the shorter, the stranger.
    return lambda rows: np.argsort(explainer.shap_values(rows), axis=1, kind="stable")


def spread_of(X: Floats) -> Floats:
    """Return (d,) robust deviations."""
    low, high = np.quantile(X, [0.25, 0.75], axis=0)
    robust = (high - low) / 1.349
    return np.where(robust > 1e-9 * np.abs(X).max(axis=0), robust, X.std(axis=0))


def disturbances(
    model: Model, train: Floats, normal: Floats, rng: np.random.Generator
) -> Iterator[tuple[str, Floats, NDArray[np.int64]]]:
    """Yield a name, disturbed rows and the (n, k) columns that were disturbed."""
    varied = [c for c in range(train.shape[1]) if len(np.unique(train[:, c])) > 2]
    spread = spread_of(train)
    for k in range(1, min(3, len(varied)) + 1):
        rows = normal[rng.integers(0, len(normal), DISTURBED)].copy()
        columns = np.array([rng.choice(varied, k, replace=False) for _ in rows])
        for row, chosen in zip(rows, columns, strict=True):
            row[chosen] += rng.choice([-1, 1], k) * DEVIATIONS * spread[chosen]
        yield f"{k} shift{'s' if k > 1 else ''}", rows, columns
    ranked = spearmanr(train[:, varied]).statistic if len(varied) > 2 else np.eye(2)
    alike = np.argwhere(np.triu(np.abs(ranked), 1) >= 0.9)
    if len(alike):
        rows = normal[rng.integers(0, len(normal), DISTURBED)].copy()
        pairs = alike[rng.integers(0, len(alike), DISTURBED)]
        columns = np.array(varied)[pairs]
        for row, pair, chosen in zip(rows, pairs, columns, strict=True):
            signs = rng.choice([-1, 1]) * np.array([1, np.sign(ranked[tuple(pair)])])
            row[chosen] += signs * DEVIATIONS * spread[chosen]
        yield "together", rows, columns
    line = np.quantile(model.calibration.scores, 0.99)
    calm = normal[scores_of(model, normal) < line]
    rows = calm[rng.integers(0, len(calm), 20 * DISTURBED)].copy()
    chosen = rng.choice(varied, len(rows))
    rows[np.arange(len(rows)), chosen] = calm[rng.integers(0, len(calm), len(rows)), chosen]
    raised = np.flatnonzero(scores_of(model, rows) >= line)[:DISTURBED]
    if len(raised) >= 5:
        yield "swap", rows[raised], chosen[raised, None]


def measure(path: Path, detector: str, seed: int) -> Iterator[dict[str, object]]:
    """Yield one record per disturbance and method."""
    with np.load(path) as archive:
        X, y = archive["X"].astype(np.float64), archive["y"].ravel()
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(X))[:MAX_ROWS]
    cut = round(FIT_SHARE * len(drawn))
    train, test, labels = X[drawn[:cut]], X[drawn[cut:]], y[drawn[cut:]]
    varies = train.max(axis=0) > train.min(axis=0)
    train, test = np.ascontiguousarray(train[:, varies]), test[:, varies]
    if train.shape[1] > MAX_COLUMNS or all(len(np.unique(column)) <= 2 for column in train.T):
        return
    model = model_of(detector, train, seed)
    d, middle, spread = train.shape[1], np.median(train, axis=0), spread_of(train)
    methods: dict[str, Ranking | None] = {
        "ours": our_ranking(model, d),
        "deviation alone": lambda rows: np.argsort(-np.abs(rows - middle) / spread, axis=1),
        "TreeSHAP": shap_ranking(train, seed) if detector == "iforest" else None,
    }
    for name, rows, columns in disturbances(model, train, test[labels == 0], rng):
        for method, rank in methods.items():
            if rank is None:
                continue
            started = time.perf_counter()
            top = rank(rows)[:, : columns.shape[1]]
            seconds = time.perf_counter() - started
            recall = np.mean([np.isin(c, t).mean() for c, t in zip(columns, top, strict=True)])
            yield {
                "set": path.stem, "columns": d, "seed": seed, "detector": detector,
                "disturbance": name, "method": method, "rows": len(rows),
                "recall": float(recall), "seconds": seconds,
            }  # fmt: skip


def show(records: list[dict[str, object]]) -> None:
    """Print recall by detector, method and disturbance: over sets, seeds averaged first."""
    names = ("1 shift", "2 shifts", "3 shifts", "together", "swap")
    print(f"{'detector':14s} {'method':16s}" + "".join(f"{name:>10s}" for name in names))
    for detector, method in dict.fromkeys((r["detector"], r["method"]) for r in records):
        cells = []
        for name in names:
            mine = [
                r for r in records
                if (r["detector"], r["method"], r["disturbance"]) == (detector, method, name)
            ]  # fmt: skip
            sets = {r["set"] for r in mine}
            by_set = [np.mean([r["recall"] for r in mine if r["set"] == s]) for s in sets]
            cells.append(f"{np.mean(by_set):10.3f}" if by_set else f"{'–':>10s}")
        print(f"{detector:14s} {method:16s}" + "".join(cells))


def speed() -> None:
    """Print what explaining costs at 20 columns, for rows that an alert budget of 1 % flags."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(20, 20)) / 4 + np.eye(20)
    train = rng.standard_t(4, size=(10_000, 20)) @ mixing
    fresh = rng.standard_t(4, size=(400_000, 20)) @ mixing
    for detector in ("self_cleaning", "iforest"):
        model = model_of(detector, train, 0)
        scores = scores_of(model, fresh)
        flagged = np.argsort(-scores)[: len(fresh) // 100]
        table = table_of(fresh[flagged])
        X = encode(model.preprocessing, table)
        explain(model, table.slice(0, 10), X[:10], scores[flagged][:10], KERNELS)  # compiled now
        wall, cpu = [], []
        for _ in range(3):
            started = time.perf_counter(), time.process_time()
            explain(model, table, X, scores[flagged], KERNELS)
            wall.append(time.perf_counter() - started[0])
            cpu.append(time.process_time() - started[1])
        n = len(flagged)
        print(
            f"{detector}: {n / min(wall):,.0f} explained rows/s, "
            f"{1e6 * min(cpu) / n:.0f} µs of CPU per flagged row at 20 columns ({n:,} rows)"
        )


def main() -> None:
    """Measure, print, and write the single records where wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="sets whose names contain this")
    parser.add_argument("--detectors", nargs="+", default=["self_cleaning", "iforest"])
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--speed", action="store_true", help="measure the cost instead")
    arguments = parser.parse_args()
    if arguments.speed:
        speed()
        return
    paths = sorted(p for p in arguments.data.glob("*.npz") if arguments.only in p.stem)
    if not paths:
        sys.exit(f"no .npz set in {arguments.data}; point --data to the public benchmark")
    records: list[dict[str, object]] = []
    for path in paths:
        for detector in arguments.detectors:
            for seed in range(arguments.seeds):
                records += measure(path, detector, seed)
        print(path.stem, file=sys.stderr, flush=True)
    show(records)
    if arguments.csv:
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(records[0]))
            writer.writeheader()
            writer.writerows(records)


if __name__ == "__main__":
    main()
