"""The strongest alerts of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pynomaly.application.ports.data import DatasetStore, OutputSinks
from pynomaly.application.ports.records import Records

__all__ = ["TopAlerts"]


@dataclass(frozen=True, slots=True)
class TopAlerts:
    """Read the strongest alerts back from what a run wrote."""

    records: Records
    datasets: DatasetStore
    sinks: OutputSinks

    def __call__(self, run_id: str, limit: int) -> list[Mapping[str, object]]:
        """Return scored rows, strangest first.

        Only local Parquet outputs that are still byte for byte as written are looked at.

        Args:
            run_id: Of the run.
            limit: How many at most.
        """
        top: list[Mapping[str, object]] = []
        for batch in self.records.batches_of(run_id):
            unchanged = (
                Path(batch.output_uri).suffix == ".parquet"
                and "://" not in batch.output_uri
                and self.sinks.digest(batch.output_uri) == batch.output_digest
            )
            if not unchanged:
                continue
            for table in self.datasets.read(batch.output_uri):
                alerts = table.filter(table.column("is_anomaly")).to_pylist()
                top = sorted([*top, *alerts], key=lambda row: -row["score"])[:limit]
        return top
