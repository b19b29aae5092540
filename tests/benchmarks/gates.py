"""What the release gates say of honest retrains, and of inverted ones, on public data.

Protocol: the rows of each set (3,500 to 24,000 of them, at most 60 columns) are dealt at random: two
fifths train the champion, two the challenger, with another seed, and one fifth is the batch that was
scored last.  Half of the training rows are held out; ``min_gate_rows`` is 300 because the sets are small.

    python tests/benchmarks/gates.py --data ../shared/data/adbench --detectors knn ecod
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from quality import DEFAULT_DATA

from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.releases import Release

sys.path.append(str(Path(__file__).parents[1]))

from challengers import scores_times
from ring import Ring, pipeline

MIN_ROWS, MAX_ROWS, MAX_COLUMNS = 3_500, 24_000, 60
VERDICTS = ("pass", "review", "inconclusive", "block")


def releases(
    X: NDArray[np.float64], detector: str, seed: int, folder: Path
) -> tuple[Release, Release]:
    """Return the release of an honest retrain, and of the same with its scores inverted."""
    names = [f"x{i}" for i in range(X.shape[1])]
    deal = np.array_split(np.random.default_rng(seed).permutation(len(X))[:MAX_ROWS], 5)

    def rows(*parts: NDArray[np.int64]) -> pa.Table:
        chosen = X[np.concatenate(parts)]
        return pa.table({name: chosen[:, i] for i, name in enumerate(names)})

    schema = Schema(tuple(Column(name, "numeric") for name in names))
    ring = Ring(folder, replace(pipeline(min_gate_rows=300), schema=schema))
    champion = ring.trained(rows(*deal[:2]), seed=seed, detector=detector)
    ring.serves(ring.registered(champion))
    ring.scored(rows(deal[4]))
    retrain = ring.trained(rows(*deal[2:4]), seed=seed + 50, detector=detector)
    honest = ring.release(ring.registered(retrain))
    inverted = ring.changed(retrain, scores_times(ring.model(retrain), -1.0), golden=True)
    return honest, ring.release(ring.registered(inverted))


def main() -> None:
    """Print a table: per family, how often each verdict was given, and which gates were in the way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--detectors", nargs="+", default=["self_cleaning", "iforest", "knn"])
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    loaded = {path.stem: np.load(path)["X"] for path in sorted(arguments.data.glob("*.npz"))}
    sets = {
        name: np.asarray(X, dtype=np.float64)
        for name, X in loaded.items()
        if len(X) >= MIN_ROWS and X.shape[1] <= MAX_COLUMNS
    }
    print(f"{len(sets)} sets: {', '.join(sets)}\n")
    print("| detector | honest: pass | review | inconclusive | block | inverted: stopped |")
    print("| --- | --- | --- | --- | --- | --- |")
    for detector in arguments.detectors:
        verdicts: Counter[str] = Counter()
        blocking: Counter[str] = Counter()
        stopped = 0
        for name, X in sets.items():
            for seed in range(arguments.seeds):
                with tempfile.TemporaryDirectory() as work:
                    honest, inverted = releases(X, detector, seed, Path(work))
                verdicts[honest.verdict] += 1
                blocking.update(
                    f"{name}: {gate.gate}" for gate in honest.gates if gate.verdict == "block"
                )
                stopped += inverted.verdict in ("block", "inconclusive")
        counts = " | ".join(str(verdicts[verdict]) for verdict in VERDICTS)
        print(f"| {detector} | {counts} | {stopped} of {verdicts.total()} |", flush=True)
        if blocking:
            print(f"<!-- blocking: {dict(blocking)} -->", flush=True)


if __name__ == "__main__":
    main()
