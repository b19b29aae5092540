"""The strongest alerts of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartStore
from pynomaly.application.ports.records import Records
from pynomaly.domain.errors import IntegrityError

__all__ = ["TopAlerts"]


@dataclass(frozen=True, slots=True)
class TopAlerts:
    """Read the strongest alerts back from what a run committed."""

    records: Records
    ledger: Ledger
    store: PartStore

    def __call__(self, run_id: str, limit: int) -> list[Mapping[str, object]]:
        """Return scored rows, strangest first.

        Parts that are gone or damaged are left out; ``scores verify`` tells about them.

        Args:
            run_id: Of the run.
            limit: How many at most.
        """
        top: list[Mapping[str, object]] = []
        for batch in self.records.batches_of(run_id):
            for entry in self.ledger.entries_of(batch.id):
                if entry.outcome is None or not entry.outcome.rows_flagged:
                    continue
                try:
                    for table in self.store.read(entry.outcome.parts):
                        alerts = table.filter(table.column("is_anomaly")).to_pylist()
                        top = sorted([*top, *alerts], key=lambda row: -row["score"])[:limit]
                except IntegrityError:
                    continue
        return top
