"""Gates about what a challenger costs: time for one row, time per row of a batch, and size."""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import pyarrow as pa

from pynomaly.application.gates.contender import Contender
from pynomaly.domain.gates import GateResult
from pynomaly.domain.pipelines import ReleasePolicy

__all__ = ["latency", "model_size", "throughput"]

REPETITIONS = 5
BATCH_ROWS = 4_096


def latency(challenger: Contender, holdout: pa.Table, policy: ReleasePolicy) -> GateResult:
    """Block a model that takes too long for one row alone: encoding and scoring, median time."""
    alone = [holdout.slice(i % len(holdout), 1) for i in range(4 * REPETITIONS)]
    millis = 1e3 * median(_seconds(challenger, row) for row in alone)
    return GateResult(
        "latency", "pass" if millis <= policy.max_call_millis else "block",
        millis, None, policy.max_call_millis, len(alone),
        f"One row alone takes {millis:.3g} ms (median of {len(alone)}), "
        f"{policy.max_call_millis:g} ms are allowed.",
    )  # fmt: skip


def throughput(challenger: Contender, holdout: pa.Table, policy: ReleasePolicy) -> GateResult:
    """Block a model that takes too long per row of a batch: encoding and scoring, median time."""
    # As many rows as a batch has, even where fewer were held out: a call has a cost of its own.
    batch = holdout.take(pa.array(np.arange(BATCH_ROWS) % len(holdout)))
    seconds = median(_seconds(challenger, batch) for _ in range(REPETITIONS))
    micros = 1e6 * seconds / len(batch)
    return GateResult(
        "throughput", "pass" if micros <= policy.max_row_micros else "block",
        micros, None, policy.max_row_micros, len(batch),
        f"A row in a batch of {len(batch):,} takes {micros:.3g} µs, {1e6 / micros:,.0f} rows a "
        f"second (median of {REPETITIONS}); {policy.max_row_micros:g} µs are allowed.",
    )  # fmt: skip


def model_size(model_bytes: int, policy: ReleasePolicy) -> GateResult:
    """Block a model folder that is too large."""
    mib = model_bytes / 2**20
    return GateResult(
        "model_size", "pass" if mib <= policy.max_model_mib else "block",
        mib, None, policy.max_model_mib, 1,
        f"The model folder has {mib:.3g} MiB, {policy.max_model_mib:g} MiB are allowed.",
    )  # fmt: skip


def _seconds(challenger: Contender, rows: pa.Table) -> float:
    start = time.perf_counter()
    challenger.score(rows)
    return time.perf_counter() - start
