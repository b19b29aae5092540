"""How fast frozen detectors score, against the libraries that fitted them.

Both are fitted on the same 10,000 × 20 rows and score the same rows in turns, in one process, each
in the order of memory that it works on; what counts is CPU time over all threads, so neither gains
by taking more cores.  Slow libraries score fewer rows, as many as take about two seconds; the table
says how many.  Last come one row through a warm model, and the time a fresh process takes to its
first score.

    python tests/benchmarks/scoring.py [--rows 1000000] [--only iforest knn] [--csv out.csv]
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pynomaly.application.ensemble import fit_detector
from pynomaly.application.scoring_rows import score_members
from pynomaly.domain.detectors import ParameterValue
from pynomaly.domain.models import Member
from pynomaly.domain.scores import combine
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.pyod import PyodFitter

COLUMNS, TRAINING_ROWS, SECONDS = 20, 10_000, 2.0
KERNELS = FrozenKernels(threads=1)
FITTER = PyodFitter(KERNELS)

Floats = np.ndarray
Scorer = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Case:
    """One line of the table: a detector, its library's class, and the ratio to reach."""

    name: str
    target: float
    library: Callable[[], Any]
    params: Mapping[str, ParameterValue]
    note: str = ""


def cases() -> tuple[Case, ...]:
    """Return the detectors with equal parameters on both sides."""
    from pyod.models.cblof import CBLOF
    from pyod.models.copod import COPOD
    from pyod.models.ecod import ECOD
    from pyod.models.gmm import GMM
    from pyod.models.hbos import HBOS
    from pyod.models.iforest import IForest
    from pyod.models.inne import INNE
    from pyod.models.knn import KNN
    from pyod.models.loda import LODA
    from pyod.models.lof import LOF
    from pyod.models.mcd import MCD
    from pyod.models.ocsvm import OCSVM
    from pyod.models.pca import PCA

    every = {"max_references": TRAINING_ROWS}
    return (
        Case("iforest", 6, lambda: IForest(random_state=0), {}),
        Case("ecod", 10, ECOD, {}),
        Case("copod", 9, COPOD, {}),
        Case("hbos", 8, HBOS, {}),
        Case("loda", 6, lambda: LODA(random_state=0), {}),
        Case("pca", 5, lambda: PCA(n_components=0.99, svd_solver="full", random_state=0), {}),
        Case("gmm", 2, lambda: GMM(4, reg_covar=1e-2, random_state=0), {}),
        Case("inne", 6, lambda: INNE(random_state=0), {}),
        Case("ocsvm", 10, OCSVM, every, "all training rows"),
        Case("mcd", 1.5, lambda: MCD(random_state=0), {}),
        Case("knn", 1, lambda: KNN(n_neighbors=20, method="mean"), every, "all training rows"),
        Case("lof", 1, LOF, every, "all training rows"),
        Case("cblof", 1, lambda: CBLOF(random_state=0), {}),
    )


def generated(rows: int, seed: int) -> Floats:
    """Return correlated, skewed and discrete columns with some anomalies."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(size=(COLUMNS, COLUMNS)) / np.sqrt(COLUMNS)
    X = rng.normal(size=(rows, COLUMNS)) @ mixing
    X[:, 0:4] = np.exp(X[:, 0:4])
    X[:, 4:6] = np.round(3 * X[:, 4:6])
    X[::100] += rng.normal(0, 4, (len(X[::100]), COLUMNS))
    return X


def composition(members: tuple[Member, ...], train: Floats) -> Scorer:
    """Return the same ensemble put together from PyOD, scikit-learn, scipy and numpy.

    Scaling is done once for the members that share one, as a careful author would.
    """
    parts = [(member, _key(member), _by_library(member, train)) for member in members]

    def score(X: Floats) -> Floats:
        scaled: dict[bytes, Floats] = {}
        scores = []
        for member, key, part in parts:
            a = member.arrays
            if key and key not in scaled:
                scaled[key] = np.arcsinh((X[:, a["columns"]] - a["center"]) / a["scale"])
            scores.append(part(scaled[key] if key else X))
        return combine(scores, members)

    return score


def _key(member: Member) -> bytes:
    if "scale" not in member.arrays:
        return b""
    return member.arrays["center"].tobytes() + member.arrays["scale"].tobytes()


def _by_library(member: Member, train: Floats) -> Scorer:
    from scipy.spatial.distance import cdist
    from sklearn.mixture import GaussianMixture
    from sklearn.neighbors import NearestNeighbors

    a = member.arrays
    match member.detector:
        case "iforest":
            from pyod.models.iforest import IForest

            n = int(member.params["n_estimators"])
            return IForest(n_estimators=n, random_state=0).fit(train).decision_function
        case "knn":
            search = NearestNeighbors(n_neighbors=int(a["neighbours"][0])).fit(a["references"].T)
            return lambda Z: search.kneighbors(Z)[0].mean(axis=1)
        case "subsample":
            groups, points = int(a["groups"][0]), np.ascontiguousarray(a["references"].T)
            return lambda Z: cdist(Z, points).reshape(len(Z), -1, groups).min(axis=1).mean(axis=1)
        case "cluster":
            ends = zip(a["starts"][:-1], a["starts"][1:], strict=True)
            centers = [np.ascontiguousarray(a["references"][:, i:j].T) for i, j in ends]
            return lambda Z: np.mean([cdist(Z, group).min(axis=1) for group in centers], axis=0)
        case "mahalanobis":
            return lambda Z: (((Z - a["mean"]) @ a["factor"]) ** 2).sum(axis=1)
        case "gmm":
            mixture = GaussianMixture(len(a["means"]))
            mixture.means_, mixture.precisions_cholesky_ = a["means"], a["factors"]
            mixture.covariances_ = mixture.precisions_ = a["factors"]
            logs = np.log(np.diagonal(a["factors"], axis1=1, axis2=2)).sum(axis=1)
            d = a["means"].shape[1]
            mixture.weights_ = np.exp(a["constants"] - logs + 0.5 * d * np.log(2 * np.pi))
            return lambda Z: -mixture.score_samples(Z)
        case "surrogate":
            from sklearn.ensemble import ExtraTreesRegressor

            forest = ExtraTreesRegressor(
                int(member.params["trees"]), min_samples_leaf=int(member.params["min_leaf"]),
                max_features=0.5, bootstrap=True, random_state=0,
            )  # fmt: skip
            Z = np.arcsinh((train[:, a["columns"]] - a["center"]) / a["scale"])
            return forest.fit(Z, KERNELS.score(member, train)).predict
        case "deviation":

            def times_too_far(Z: Floats) -> Floats:
                deviations = np.sinh(Z)
                times = np.abs(deviations) * a["shares"]
                np.maximum(times, (a["low"] - deviations) * a["falls"], out=times)
                np.maximum(times, (deviations - a["high"]) * a["rises"], out=times)
                return np.log(np.maximum(times.max(axis=1), 1.0))

            return times_too_far
        case other:
            raise SystemExit(f"the ensemble has a member this benchmark cannot compose: {other}")


@dataclass(frozen=True)
class Line:
    """What was measured for one detector; microseconds of CPU per row."""

    detector: str
    library_rows: int
    library_us: float
    frozen_us: float
    ratio: float
    target: float
    note: str


def seconds(score: Scorer, X: Floats) -> float:
    """Return CPU seconds, all threads together."""
    started = time.process_time()
    score(X)
    return time.process_time() - started


def in_turns(library: Scorer, frozen: Scorer, X: Floats, repeats: int) -> tuple[int, float, float]:
    """Return how many rows the library scored, and the best microseconds per row of both."""
    columns = np.asfortranarray(X)  # as our preprocessing hands rows on
    library(X[:2_000]), frozen(columns[:2_000])
    rate = 2_000 / max(seconds(library, X[:2_000]), 1e-6)
    rows = int(min(len(X), max(2_000, SECONDS * rate)))
    best = [np.inf, np.inf]
    for _ in range(repeats):
        best[0] = min(best[0], seconds(library, X[:rows]) / rows)
        best[1] = min(best[1], seconds(frozen, columns) / len(X))
    return rows, best[0] * 1e6, best[1] * 1e6


def measure(wanted: list[str], X: Floats, train: Floats, repeats: int) -> list[Line]:
    """Return the table's lines, printing each when it is known."""
    lines = []
    print(f"{'detector':14s} {'library µs':>11s} {'frozen µs':>10s} {'ratio':>7s} {'target':>7s}")

    def add(name: str, target: float, library: Scorer, frozen: Scorer, note: str) -> None:
        rows, theirs, ours = in_turns(library, frozen, X, repeats)
        ratio = theirs / ours
        if rows < len(X):
            note = f"library on {rows:,} rows{', ' if note else ''}{note}"
        lines.append(Line(name, rows, theirs, ours, ratio, target, note))
        missed = "" if ratio >= target else "  MISSED"
        print(
            f"{name:14s} {theirs:11.3f} {ours:10.3f} {ratio:6.1f}x {target:6.1f}x  {note}{missed}"
        )

    for case in cases():
        if not wanted or case.name in wanted:
            fitted = case.library().fit(train)
            member = FITTER.fit(case.name, case.params, train, 0)
            add(
                case.name, case.target, fitted.decision_function,
                lambda rows, member=member: KERNELS.score(member, rows), case.note,
            )  # fmt: skip
    if not wanted or "self_cleaning" in wanted:
        members = fit_detector("self_cleaning", {}, train, fitter=FITTER, kernels=KERNELS, seed=0)
        add(
            "self_cleaning", 5, composition(members, train),
            lambda rows: score_members(members, rows, KERNELS), "PyOD, sklearn, scipy, numpy",
        )  # fmt: skip
    return lines


def one_row(train: Floats) -> None:
    """Print the median wall time of single rows through warm isolation forests."""
    from pyod.models.iforest import IForest

    fitted = IForest(random_state=0).fit(train)
    members = (FITTER.fit("iforest", {}, train, 0),)

    def median(score: Scorer, calls: int) -> float:
        times = []
        for i in range(calls):
            started = time.perf_counter()
            score(train[i : i + 1])
            times.append(time.perf_counter() - started)
        return float(np.median(times)) * 1e6

    ours = median(lambda row: score_members(members, row, KERNELS), 2_000)
    theirs = median(fitted.decision_function, 200)
    print(f"\none row, isolation forest: {ours:.0f} µs, PyOD {theirs:,.0f} µs (target < 50 µs)")


FIRST_SCORE = """
import sys, time
started = time.perf_counter()
import numpy as np
from pynomaly.domain.models import Member, Normalisation
from pynomaly.infrastructure.kernels import FrozenKernels
with np.load(sys.argv[1]) as stored:
    member = Member(sys.argv[2], {"method": "mean"}, dict(stored), Normalisation(0, 1, 0, 1))
FrozenKernels().score(member, np.zeros((1, int(sys.argv[3]))))
print(time.perf_counter() - started)
"""


def cold_start(train: Floats) -> None:
    """Print seconds to the first score in a fresh process: first ever, and after that."""
    print("\nfirst score in a fresh process, seconds (numpy and numba imported, model read)")
    for name in ("iforest", "ecod", "gmm", "knn"):
        with tempfile.TemporaryDirectory() as folder:
            arrays = Path(folder) / "arrays.npz"
            np.savez(arrays, **FITTER.fit(name, {}, train, 0).arrays)
            environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
            times = [
                float(
                    subprocess.run(
                        [sys.executable, "-c", FIRST_SCORE, str(arrays), name, str(COLUMNS)],
                        env=environment, check=True, capture_output=True, text=True,
                    ).stdout
                )
                for _ in range(3)
            ]  # fmt: skip
        print(f"  {name:8s} nothing compiled yet {times[0]:6.1f}   cached {min(times[1:]):5.2f}")


def main() -> None:
    """Measure and print; write CSV on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    train, X = generated(TRAINING_ROWS, 0), generated(options.rows, 2)
    print(f"{options.rows:,} x {COLUMNS} float64, fitted on {TRAINING_ROWS:,} rows; CPU per row")
    lines = measure(options.only, X, train, options.repeats)
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([field.name for field in fields(Line)])
            writer.writerows(astuple(line) for line in lines)
    one_row(train)
    cold_start(train)


if __name__ == "__main__":
    main()
