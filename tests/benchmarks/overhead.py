"""How long `pynomaly run` takes beyond the learning itself.

Runs the whole chain with `--engine direct` and the default budget on 5,000 × 20 generated rows, in
fresh processes and an empty home, as a newcomer would.  Overhead is everything but the tune and
train steps and the score step: start-up, imports, validation, profiling, MLflow, gates, reports.

    python tests/benchmarks/overhead.py [--runs 3]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

ROWS, COLUMNS = 5_000, 20
PURE = ("tune", "train", "score")


def command(*arguments: str, folder: Path) -> tuple[float, dict]:
    """Run a command line; return its wall seconds and its document."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pynomaly.presentation.cli.main", *arguments, "--json"],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return time.perf_counter() - started, json.loads(done.stdout)


def measure(folder: Path) -> dict[str, float]:
    """Return seconds by step of one run, and the overhead."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(ROWS, COLUMNS))
    values[::100] += rng.normal(0, 4, (ROWS // 100, COLUMNS))
    frame = pd.DataFrame(values, columns=[f"x{i}" for i in range(COLUMNS)])
    frame.insert(0, "id", range(ROWS))
    (folder / "conf").mkdir()
    frame.to_csv(folder / "data.csv", index=False)
    command("init", "bench", "--data", "data.csv", "--id", "id", folder=folder)
    total, _ = command("run", "bench", "--engine", "direct", folder=folder)
    _, history = command("history", "bench", folder=folder)
    seconds = {
        step["step"]: (
            datetime.fromisoformat(step["finished_at"]) - datetime.fromisoformat(step["started_at"])
        ).total_seconds()
        for step in history["runs"][0]["steps"]
    }
    pure = sum(seconds[step] for step in PURE)
    between = total - sum(seconds.values())
    return {**seconds, "start and end": between, "total": total, "overhead": total - pure}


def main() -> None:
    """Print the median of several runs, step by step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = []
    for _ in range(parser.parse_args().runs):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(measure(Path(folder)))
    print(f"pynomaly run, {ROWS:,} x {COLUMNS} rows, direct engine, median of {len(runs)}, seconds")
    for name in runs[0]:
        print(f"  {name:14s} {np.median([run[name] for run in runs]):7.2f}")


if __name__ == "__main__":
    main()
