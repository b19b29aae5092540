"""What end-to-end tests share: commands, their outcomes, and rows to run them on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ["amount", "rate", "load", "delay"]

QUICK = ("--budget", "quick", "--detector", "pca")
"""Milliseconds to fit; what a test of ``detect`` is about is rarely the ensemble."""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one document on stdout."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document

    @property
    def error(self) -> str:
        """Message and hint of a failed ``--json`` command."""
        facts = self.json["error"]
        return f"{facts['message']}\n{facts['hint']}"


Cli = Callable[..., Outcome]


def frame(rows: int, seed: int) -> pd.DataFrame:
    """Ordinary rows; one in two hundred is far out in two columns."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(rng.normal(50, 5, (rows, 4)), columns=COLUMNS).round(3)
    strange = rng.random(rows) < 0.005
    data.loc[strange, ["amount", "load"]] += 60
    data.insert(0, "txn_id", [f"t{seed}-{i}" for i in range(rows)])
    data["country"] = rng.choice(["DE", "FR", "US"], rows, p=[0.6, 0.3, 0.1])
    return data


def payments(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Columns of every kind, with two planted anomalies: rows 10 and 20."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "txn_id": [f"t{i:04d}" for i in range(rows)],
            "ts": pd.date_range("2026-01-05 08:00", periods=rows, freq="min"),
            "amount": rng.normal(50, 5, rows).round(2),
            "rate": rng.normal(0.3, 0.02, rows).round(4),
            "country": rng.choice(["DE", "FR", "US"], rows, p=[0.6, 0.3, 0.1]),
            "vip": rng.choice(["yes", "no"], rows),
            "note": [f"please handle order number {i} with great care" for i in range(rows)],
            "batch": "B7",
        }
    )
    data.loc[rng.choice(rows, 12, replace=False), "rate"] = np.nan
    data.loc[10, "amount"] = 950.0
    data.loc[20, ["country", "rate"]] = ["XX", 0.9]
    return data
