"""Scored rows as monitoring compares them: counted, so that a batch of any size is small."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pynomaly.domain.monitoring import Share

__all__ = ["Counted", "first_reasons"]


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows of one or several batches.

    Args:
        alerts: Flagged rows among those of the model.
        by_p_value: (n + 1,) counts of the same rows.
        others: Rows that another model version answered.
        reasons: Alerts by the column that explains most of each.
        batches: How many.
    """

    alerts: Share
    by_p_value: NDArray[np.int64]
    others: int
    reasons: Counter[str]
    batches: int = 1

    def plus(self, other: Counted) -> Counted:
        """Return both together; they were counted by the p-values of one calibration."""
        return Counted(
            Share(self.alerts.count + other.alerts.count, self.alerts.n + other.alerts.n),
            self.by_p_value + other.by_p_value,
            self.others + other.others,
            self.reasons + other.reasons,
            self.batches + other.batches,
        )


def first_reasons(reasons: pa.ChunkedArray) -> Mapping[str, int]:
    """Count the first reason's column of some alerts; of tables, where reasons are text, none."""
    if not pa.types.is_list(reasons.type):
        return {}
    given = reasons.filter(pc.greater(pc.fill_null(pc.list_value_length(reasons), 0), 0))
    columns = pc.struct_field(pc.list_element(given, 0), "column")
    return {str(item["values"]): item["counts"] for item in pc.value_counts(columns).to_pylist()}
