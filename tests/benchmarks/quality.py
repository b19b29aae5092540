"""Detection quality without labels on public data, against PyOD's defaults and ADEngine, in one run.

Protocol (inductive): at most 5,000 rows per set, sampled by class, at least min(25, available)
anomalies; 70/30 split by class; fit on the contaminated 70 % without labels, measure on the 30 %.
A method that fails scores a constant.  Wins, losses and the Wilcoxon test pair the sets, each set's
value averaged over the seeds first: three seeds of one set are not three observations.  A last line
pairs sets x seeds all the same.

    python tests/benchmarks/quality.py --data ../shared/data/adbench --csv quality.csv
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.evaluation import average_precision, roc_auc

Floats = NDArray[np.float64]
Scorer = Callable[[Floats], Floats]
Fit = Callable[[Floats, int], dict[str, Scorer]]

DEFAULT_DATA = Path(__file__).parents[3] / "shared" / "data" / "adbench"
MAX_ROWS, MIN_ANOMALIES, FIT_SHARE = 5_000, 25, 0.7
OURS = "pynomaly ensemble"
PYOD = (
    "IForest", "CBLOF", "MCD", "ECOD", "COPOD", "HBOS", "LODA", "PCA", "GMM", "INNE", "KNN", "LOF",
    "OCSVM",
)  # fmt: skip


@dataclass(frozen=True)
class Split:
    """Rows to fit on and rows to measure on."""

    name: str
    seed: int
    train: Floats
    test: Floats
    y_train: NDArray[np.int64]
    y_test: NDArray[np.int64]


@dataclass(frozen=True)
class Result:
    """What one method did on one split."""

    set: str
    seed: int
    method: str
    roc_auc: float
    average_precision: float
    seconds: float


def splits(folder: Path, seeds: int, only: str = "") -> Iterator[Split]:
    """Yield every set with every seed."""
    for path in sorted(folder.glob("*.npz")):
        if only not in path.stem:
            continue
        with np.load(path) as archive:
            X, y = archive["X"].astype(np.float64), archive["y"].astype(np.int64).ravel()
        for seed in range(seeds):
            yield split(path.stem, X, y, seed)


def split(name: str, X: Floats, y: NDArray[np.int64], seed: int) -> Split:
    """Sample and divide one set by class."""
    rng = np.random.default_rng(seed)
    anomalies, normal = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    if len(y) > MAX_ROWS:
        share = round(MAX_ROWS * len(anomalies) / len(y))
        kept = max(min(MIN_ANOMALIES, len(anomalies)), share)
        anomalies = rng.choice(anomalies, kept, replace=False)
        normal = rng.choice(normal, MAX_ROWS - kept, replace=False)
    train, test = [], []
    for of_one_class in (normal, anomalies):
        rows = rng.permutation(of_one_class)
        cut = round(FIT_SHARE * len(rows))
        train.append(rows[:cut])
        test.append(rows[cut:])
    fit, measure = rng.permutation(np.concatenate(train)), np.concatenate(test)
    return Split(name, seed, X[fit], X[measure], y[fit], y[measure])


def ours(X: Floats, seed: int) -> dict[str, Scorer]:
    """Fit the untuned default: what every study starts from."""
    from pynomaly.application.ensemble import fit_detector
    from pynomaly.application.scoring_rows import score_members
    from pynomaly.infrastructure.kernels import FrozenKernels
    from pynomaly.infrastructure.pyod.fitter import PyodFitter

    kernels = FrozenKernels()
    members = fit_detector(
        "self_cleaning", {}, X, fitter=PyodFitter(kernels), kernels=kernels, seed=seed
    )
    return {OURS: lambda rows: score_members(members, rows, kernels)}


def budget(name: str) -> Fit:
    """Return the estimator people use, with a budget: tuning and calibration included."""

    def fit(X: Floats, seed: int) -> dict[str, Scorer]:
        import pynomaly as pn

        detector = pn.AnomalyDetector(budget=name, random_state=seed).fit(X)
        return {f"pynomaly {name}": detector.anomaly_scores}

    return fit


def pyod_default(name: str) -> Fit:
    """Return a method that fits one PyOD detector with its defaults."""

    def fit(X: Floats, seed: int) -> dict[str, Scorer]:
        import inspect
        from importlib import import_module

        kind = getattr(import_module(f"pyod.models.{name.lower()}"), name)
        seeded = "random_state" in inspect.signature(kind.__init__).parameters
        detector = kind(**({"random_state": seed} if seeded else {}))
        detector.fit(X)
        return {name: detector.decision_function}

    return fit


def ad_engine(X: Floats, seed: int) -> dict[str, Scorer]:
    """Let PyOD choose: its best detector, and the consensus of all it tried.

    The consensus of unseen rows is the mean of the detectors' training ECDFs.
    """
    from pyod.utils.ad_engine import ADEngine

    np.random.seed(seed)  # noqa: NPY002  ADEngine's detectors take the global state
    state = ADEngine().investigate(X, data_type="tabular")
    fitted = [r for r in state.results if r["status"] == "success"]
    best = state.results[state.analysis["best_detector_index"]]["detector"]
    references = [np.sort(r["scores_train"]) for r in fitted]

    def consensus(rows: Floats) -> Floats:
        shares = [
            np.searchsorted(reference, r["detector"].decision_function(rows), side="right")
            / len(reference)
            for reference, r in zip(references, fitted, strict=True)
        ]
        return np.mean(shares, axis=0)

    return {"ADEngine best": best.decision_function, "ADEngine consensus": consensus}


def measure(part: Split, fit: Fit, names: tuple[str, ...]) -> list[Result]:
    """Fit one method, or one that gives several scores, and measure it on the unseen rows."""
    began = time.process_time()
    scores: dict[str, Floats] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = {name: score(part.test) for name, score in fit(part.train, part.seed).items()}
    except Exception as error:  # noqa: BLE001  a method that fails scores a constant
        print(
            f"  {part.name} seed {part.seed}: {names[0]} failed: {error!r}"[:160], file=sys.stderr
        )
    seconds = time.process_time() - began
    found = []
    for name in names:
        s = np.nan_to_num(scores.get(name, np.zeros(len(part.test))).astype(np.float64))
        found.append(
            Result(
                part.name,
                part.seed,
                name,
                roc_auc(part.y_test, s),
                average_precision(part.y_test, s),
                seconds,
            )
        )
    return found


def measure_all(part: Split, methods: list[str]) -> list[Result]:
    """Measure the untuned ensemble and the named methods on one split."""
    results = measure(part, ours, (OURS,))
    for name in methods:
        if name == "ADEngine":
            results += measure(part, ad_engine, ("ADEngine best", "ADEngine consensus"))
        elif name in PYOD:
            results += measure(part, pyod_default(name), (name,))
        else:
            results += measure(part, budget(name), (f"pynomaly {name}",))
    return results


def report(results: list[Result], reference: str = OURS) -> None:
    """Print means, wins and losses against ``reference``, and the oracle."""
    from scipy.stats import wilcoxon

    sets = sorted({r.set for r in results})
    methods = list(dict.fromkeys(r.method for r in results))
    auc = {m: _by_set(results, m, sets, "roc_auc") for m in methods}
    ap = {m: _by_set(results, m, sets, "average_precision") for m in methods}
    seconds = {m: np.mean([r.seconds for r in results if r.method == m]) for m in methods}
    print(f"\n{len(sets)} sets; wins : losses and Wilcoxon's p pair {reference!r} with the method")
    print(
        f"{'method':24}{'ROC-AUC':>9}{'AP':>9}{'AP w:l':>9}{'p':>10}{'AUC w:l':>9}{'p':>10}{'CPU s':>8}"
    )
    for m in sorted(methods, key=lambda m: -ap[m].mean()):
        line = f"{m:24}{auc[m].mean():9.4f}{ap[m].mean():9.4f}"
        for value in (ap, auc):
            difference = value[reference] - value[m]
            if np.any(difference):
                wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
                line += f"{f'{wins}:{losses}':>9}{wilcoxon(difference).pvalue:10.2g}"
            else:
                line += f"{'':>19}"
        print(f"{line}{seconds[m]:8.2f}")
    _report_splits(results, methods, reference)
    oracle = [m for m in methods if m in PYOD]
    if len(oracle) > 1:
        best_auc = np.max([auc[m] for m in oracle], axis=0).mean()
        best_ap = np.max([ap[m] for m in oracle], axis=0).mean()
        print(f"{f'oracle: best of {len(oracle)} PyOD':24}{best_auc:9.4f}{best_ap:9.4f}")


def _report_splits(results: list[Result], methods: list[str], reference: str) -> None:
    """Print wins and losses over sets × seeds, which are more pairs but not independent ones."""
    from scipy.stats import wilcoxon

    value = {(r.method, r.set, r.seed): r.average_precision for r in results}
    parts = sorted({(r.set, r.seed) for r in results})
    print("AP over sets x seeds:", end="")
    for m in methods:
        difference = np.array([value[reference, *part] - value[m, *part] for part in parts])
        if np.any(difference):
            wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
            print(f" {m} {wins}:{losses} p={wilcoxon(difference).pvalue:.1g};", end="")
    print()


def _by_set(results: list[Result], method: str, sets: list[str], value: str) -> Floats:
    return np.array(
        [
            np.mean([getattr(r, value) for r in results if r.method == method and r.set == s])
            for s in sets
        ]
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="sets whose name contains this")
    parser.add_argument("--csv", type=Path, help="write every single result here")
    parser.add_argument("--budgets", nargs="*", default=["quick", "default"])
    parser.add_argument("--jobs", type=int, default=2, help="splits measured at the same time")
    parser.add_argument("--without", nargs="*", default=[], metavar="NAME", help="left out")
    parser.add_argument("--without-baselines", action="store_true")
    chosen = parser.parse_args()
    if not any(chosen.data.glob("*.npz")):
        sys.exit(f"no *.npz in {chosen.data}; give the benchmark's folder with --data")
    methods = [*chosen.budgets]
    if not chosen.without_baselines:
        methods += [name for name in (*PYOD, "ADEngine") if name not in chosen.without]
    parts = list(splits(chosen.data, chosen.seeds, chosen.only))
    results: list[Result] = []
    with ProcessPoolExecutor(chosen.jobs, mp_context=get_context("spawn")) as pool:
        for found in pool.map(measure_all, parts, repeat(methods)):
            results += found
            ours_here = f"{found[0].average_precision:.3f}"
            print(f"{found[0].set} seed {found[0].seed}: {ours_here}", file=sys.stderr, flush=True)
    report(results)
    if chosen.csv:
        with chosen.csv.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["set", "seed", "method", "roc_auc", "average_precision", "seconds"])
            rows.writerows(
                [r.set, r.seed, r.method, r.roc_auc, r.average_precision, r.seconds]
                for r in results
            )


if __name__ == "__main__":
    main()
