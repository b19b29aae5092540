"""The part of the composition root that picks adapters by the settings, each on first use."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pynomaly import adapters

if TYPE_CHECKING:
    from pynomaly.application.ports.data import DatasetStore, OutputSinks, Sources
    from pynomaly.application.ports.evidence import Signer
    from pynomaly.application.ports.learning import (
        DetectorFitter,
        Kernels,
        LabelFitter,
        ModelStore,
        Tuner,
    )
    from pynomaly.application.ports.ledger import Ledger
    from pynomaly.application.ports.partitions import PartitionReader, PartStore
    from pynomaly.application.ports.quality import DataValidator
    from pynomaly.application.ports.records import Records
    from pynomaly.application.ports.registry import ModelRegistry
    from pynomaly.application.ports.reporting import Plots, Reports
    from pynomaly.application.ports.run_leases import RunLeases
    from pynomaly.application.ports.verdicts import Verdicts
    from pynomaly.settings import Settings

__all__ = ["Backends"]


class Backends:
    """Every port, with the adapter that the settings ask for.

    Args:
        settings: Effective settings.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    # Folders

    @cached_property
    def _artifacts(self) -> Path:
        return self.settings.home / "artifacts"

    @cached_property
    def _reports_folder(self) -> Path:
        return self.settings.home / "reports"

    @cached_property
    def _plots_folder(self) -> Path:
        return self._artifacts / "plots"

    # Adapters

    @cached_property
    def records(self) -> Records:
        """Our own records."""
        from pynomaly.infrastructure.sqlalchemy.records import SqlRecords

        return SqlRecords(self.settings.records.url)

    @cached_property
    def ledger(self) -> Ledger:
        """What was scored."""
        from pynomaly.infrastructure.sqlalchemy.ledger import SqlLedger

        return SqlLedger(self.settings.records.url)

    @cached_property
    def run_leases(self) -> RunLeases:
        """Who carries out which run."""
        from pynomaly.infrastructure.sqlalchemy.run_leases import SqlRunLeases

        return SqlRunLeases(self.settings.records.url)

    @cached_property
    def verdicts(self) -> Verdicts:
        """What people said about rows."""
        from pynomaly.infrastructure.sqlalchemy.verdicts import SqlVerdicts

        return SqlVerdicts(self.settings.records.url)

    @cached_property
    def registry(self) -> ModelRegistry:
        """The model registry."""
        from pynomaly.infrastructure.mlflow.registry import MlflowRegistry

        return MlflowRegistry(self.settings.mlflow.tracking_uri, self._artifacts / "mlflow")

    @cached_property
    def sources(self) -> Sources:
        """Opens whatever holds rows."""
        return adapters.data_sources()

    @cached_property
    def partitions(self) -> PartitionReader:
        """Divides sources and reads the pieces."""
        return adapters.partition_reader(workers=self.settings.scoring.workers)

    @cached_property
    def parts(self) -> PartStore:
        """Scored parts."""
        scoring, s3 = self.settings.scoring, self.settings.s3
        return adapters.part_store(workers=scoring.workers, sse=s3.sse, kms_key=s3.kms_key)

    @cached_property
    def datasets(self) -> DatasetStore:
        """Staged datasets."""
        from pynomaly.infrastructure.arrow.outputs import ParquetDatasetStore
        from pynomaly.infrastructure.filesystem.targets import open_local_target

        return ParquetDatasetStore(self._artifacts / "datasets", open_local_target)

    @cached_property
    def sinks(self) -> OutputSinks:
        """Outputs users ask for."""
        s3 = self.settings.s3
        return adapters.output_sinks(sse=s3.sse, kms_key=s3.kms_key)

    @cached_property
    def validator(self) -> DataValidator:
        """Checks expectations."""
        from pynomaly.infrastructure.great_expectations.validator import (
            GreatExpectationsValidator,
        )

        return GreatExpectationsValidator()

    @cached_property
    def kernels(self) -> Kernels:
        """Score frozen detectors."""
        return adapters.detector_kernels(self.settings.scoring.threads)

    @cached_property
    def fitter(self) -> DetectorFitter:
        """Fits and freezes detectors."""
        return adapters.detector_fitter(self.kernels)

    @cached_property
    def label_fitter(self) -> LabelFitter:
        """Fits what labels teach."""
        return adapters.label_fitter(self.kernels)

    @cached_property
    def tuner(self) -> Tuner:
        """Searches for better detectors."""
        from pynomaly.infrastructure.optuna.tuner import OptunaTuner

        return OptunaTuner(self._artifacts / "studies")

    @cached_property
    def model_store(self) -> ModelStore:
        """Model folders."""
        return adapters.model_folders()

    @cached_property
    def reports(self) -> Reports:
        """Renders pages."""
        return adapters.page_reports()

    @cached_property
    def plots(self) -> Plots:
        """Draws pictures."""
        from pynomaly.infrastructure.reports.plots import MatplotlibPlots

        return MatplotlibPlots()

    @cached_property
    def signer(self) -> Signer:
        """Vouches for evidence."""
        from pynomaly.infrastructure.evidence import Ed25519Signer

        given = self.settings.evidence.signing_key
        return Ed25519Signer(self.settings.signing_key, create=given is None)
