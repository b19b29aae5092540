"""The composition root: the only place that picks adapters.

Everything is built on first use, so that a command imports just the technology it needs.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pynomaly.domain.runs import Actor

if TYPE_CHECKING:
    import pyarrow as pa

    from pynomaly.application.alerts import TopAlerts
    from pynomaly.application.champion import ModelLoader
    from pynomaly.application.detect import DetectAnomalies
    from pynomaly.application.gate import GateVersion
    from pynomaly.application.learn import LearnModel
    from pynomaly.application.ports.data import DatasetStore, OutputSinks, Source, Sources
    from pynomaly.application.ports.learning import (
        DetectorFitter,
        Kernels,
        LabelFitter,
        ModelStore,
        Tuner,
    )
    from pynomaly.application.ports.quality import DataValidator
    from pynomaly.application.ports.records import Records
    from pynomaly.application.ports.registry import ModelRegistry
    from pynomaly.application.ports.reporting import Plots, Reports
    from pynomaly.application.profile import ProfileDataset, ProfileSource
    from pynomaly.application.promote import PromoteRelease
    from pynomaly.application.queries import Queries
    from pynomaly.application.reconcile import ReconcileAliases
    from pynomaly.application.register import RegisterModel
    from pynomaly.application.report import WriteRunReport
    from pynomaly.application.score import ScoreDataset
    from pynomaly.application.train import FitModel
    from pynomaly.application.tune import TuneDetector
    from pynomaly.application.validate import ValidateData
    from pynomaly.domain.pipelines import Pipeline, SourceSpec
    from pynomaly.settings import Settings

__all__ = [
    "Platform",
    "anomaly_detection",
    "available_prefect_api",
    "build",
    "data_sources",
    "detector_fitter",
    "detector_kernels",
    "label_fitter",
    "model_folders",
    "model_learner",
    "output_sinks",
    "page_reports",
    "prefect_session",
    "table_source",
    "uncertified_parameters",
]


def build(settings: Settings) -> Platform:
    """Return the platform that ``settings`` describe; nothing is opened or imported yet."""
    return Platform(settings)


def available_prefect_api(settings: Settings) -> str | None:
    """Return the Prefect API that is configured or up, or None."""
    from pynomaly.infrastructure.prefect.session import available_api

    return available_api(settings.home)


def prefect_session(settings: Settings) -> AbstractContextManager[str]:
    """Return a block in which flows find a Prefect API that answers."""
    from pynomaly.infrastructure.prefect.session import prefect_session as session

    return session(settings.home)


def detector_kernels(threads: int | None = None) -> Kernels:
    """Return what scores frozen detectors; it needs no settings.

    Args:
        threads: Score large batches with so many; None for all this process may use.
    """
    from pynomaly.infrastructure.kernels import FrozenKernels
    from pynomaly.infrastructure.pyod.uncertified import RefittedDetectors

    return FrozenKernels(uncertified=RefittedDetectors().score, threads=threads)


def detector_fitter(kernels: Kernels, tolerance: float | None = None) -> DetectorFitter:
    """Return what fits and freezes detectors; it needs no settings.

    Args:
        kernels: Score frozen copies in the self-test.
        tolerance: Relative deviation the self-test allows; its own default where None.
    """
    from pynomaly.infrastructure.pyod.fitter import PyodFitter

    return PyodFitter(kernels) if tolerance is None else PyodFitter(kernels, tolerance)


def label_fitter(kernels: Kernels) -> LabelFitter:
    """Return what fits and freezes classifiers on labelled rows; it needs no settings.

    Args:
        kernels: Score frozen copies in the self-test.
    """
    from pynomaly.infrastructure.pyod.labels import SklearnLabelFitter

    return SklearnLabelFitter(kernels)


def data_sources() -> Sources:
    """Return what opens files, folders, buckets and databases; it needs no settings."""
    from pynomaly.infrastructure.arrow.sources import TableSources
    from pynomaly.infrastructure.filesystem.files import find_local_files
    from pynomaly.infrastructure.s3.files import find_s3_objects

    def open_database(spec: SourceSpec) -> Source:
        from pynomaly.infrastructure.sqlalchemy.source import open_sql_source

        return open_sql_source(spec)

    return TableSources(local=find_local_files, s3=find_s3_objects, sql=open_database)


def table_source(table: pa.Table, name: str) -> Source:
    """Return a table in memory as a source.

    Args:
        table: Its rows.
        name: How they are called.

    Raises:
        MalformedSourceError: No column, no row, or two columns of one name.
    """
    from pynomaly.infrastructure.arrow.memory import TableSource

    return TableSource(table, name)


def output_sinks() -> OutputSinks:
    """Return what writes the outputs users ask for; it needs no settings."""
    from pynomaly.infrastructure.arrow.outputs import TableSinks
    from pynomaly.infrastructure.filesystem.targets import open_local_target
    from pynomaly.infrastructure.s3.targets import open_s3_target

    return TableSinks(local=open_local_target, s3=open_s3_target)


def page_reports() -> Reports:
    """Return what renders pages; it needs no settings."""
    from pynomaly.infrastructure.reports.html import HtmlReports

    return HtmlReports()


def model_learner() -> LearnModel:
    """Return what chooses, fits and calibrates models in memory; nothing is stored."""
    from pynomaly.application.learn import LearnModel
    from pynomaly.infrastructure.optuna.tuner import OptunaTuner

    kernels = detector_kernels()
    return LearnModel(detector_fitter(kernels), label_fitter(kernels), kernels, OptunaTuner(None))


def anomaly_detection() -> DetectAnomalies:
    """Return what detects anomalies in any source, without settings or state."""
    from pynomaly.application.detect import DetectAnomalies

    learner = model_learner()
    return DetectAnomalies(learner, learner.kernels, output_sinks())


def uncertified_parameters(detector: str) -> Mapping[str, object]:
    """Return what a detector of PyOD's takes besides a seed, with defaults.

    Raises:
        MissingExtraError: It needs a package that is not installed.
    """
    from pynomaly.infrastructure.pyod.uncertified import parameters

    return parameters(detector)


def model_folders() -> ModelStore:
    """Return what reads and writes model folders; it needs no settings."""
    from pynomaly.infrastructure.modelfolder import FolderModelStore

    return FolderModelStore()


class Platform:
    """Every use case, wired to the adapters the settings ask for.

    Args:
        settings: Effective settings.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.actor = Actor(getpass.getuser(), "local")

    def pipeline(self, name: str) -> Pipeline:
        """Return a configured pipeline.

        Raises:
            UnknownPipelineError: There is none of that name.
            ConfigurationError: Its file is wrong.
        """
        from pynomaly.settings import load_pipeline

        return load_pipeline(name, self.settings)

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
    def registry(self) -> ModelRegistry:
        """The model registry."""
        from pynomaly.infrastructure.mlflow.registry import MlflowRegistry

        return MlflowRegistry(self.settings.mlflow.tracking_uri, self._artifacts / "mlflow")

    @cached_property
    def sources(self) -> Sources:
        """Opens whatever holds rows."""
        return data_sources()

    @cached_property
    def datasets(self) -> DatasetStore:
        """Staged datasets."""
        from pynomaly.infrastructure.arrow.outputs import ParquetDatasetStore
        from pynomaly.infrastructure.filesystem.targets import open_local_target

        return ParquetDatasetStore(self._artifacts / "datasets", open_local_target)

    @cached_property
    def sinks(self) -> OutputSinks:
        """Outputs users ask for."""
        return output_sinks()

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
        return detector_kernels(self.settings.scoring.threads)

    @cached_property
    def fitter(self) -> DetectorFitter:
        """Fits and freezes detectors."""
        return detector_fitter(self.kernels)

    @cached_property
    def label_fitter(self) -> LabelFitter:
        """Fits what labels teach."""
        return label_fitter(self.kernels)

    @cached_property
    def tuner(self) -> Tuner:
        """Searches for better detectors."""
        from pynomaly.infrastructure.optuna.tuner import OptunaTuner

        return OptunaTuner(self._artifacts / "studies")

    @cached_property
    def model_store(self) -> ModelStore:
        """Model folders."""
        return model_folders()

    @cached_property
    def reports(self) -> Reports:
        """Renders pages."""
        return page_reports()

    @cached_property
    def plots(self) -> Plots:
        """Draws pictures."""
        from pynomaly.infrastructure.reports.plots import MatplotlibPlots

        return MatplotlibPlots()

    # Use cases

    @cached_property
    def loader(self) -> ModelLoader:
        """Fetch registered models, verified."""
        from pynomaly.application.champion import ModelLoader

        return ModelLoader(
            self.registry, self.records, self.model_store, self._artifacts / "verified"
        )

    @cached_property
    def validate(self) -> ValidateData:
        """Refuse bad data and stage the rest."""
        from pynomaly.application.validate import ValidateData

        return ValidateData(
            self.sources,
            self.datasets,
            self.validator,
            self.records,
            self.reports,
            self._reports_folder,
        )

    @cached_property
    def profile(self) -> ProfileDataset:
        """Describe staged rows."""
        from pynomaly.application.profile import ProfileDataset

        return ProfileDataset(self.datasets, self.settings.profiling.sample_rows)

    @cached_property
    def profile_source(self) -> ProfileSource:
        """Describe raw data that no pipeline knows yet."""
        from pynomaly.application.profile import ProfileSource

        return ProfileSource(self.sources, self.settings.profiling.sample_rows)

    @cached_property
    def tune(self) -> TuneDetector:
        """Choose a detector."""
        from pynomaly.application.tune import TuneDetector

        return TuneDetector(self.datasets, self.fitter, self.kernels, self.tuner)

    @cached_property
    def train(self) -> FitModel:
        """Fit, calibrate and freeze a model."""
        from pynomaly.application.train import FitModel

        return FitModel(
            self.datasets,
            self.fitter,
            self.kernels,
            self.model_store,
            self._artifacts / "models",
            self.label_fitter,
        )

    @cached_property
    def register(self) -> RegisterModel:
        """Put a model and its evidence into the registry."""
        from pynomaly.application.register import RegisterModel

        return RegisterModel(
            self.registry,
            self.records,
            self.model_store,
            self.datasets,
            self.kernels,
            self.reports,
            self.plots,
            self._plots_folder,
        )

    @cached_property
    def gate(self) -> GateVersion:
        """Put a version before the gates."""
        from pynomaly.application.gate import GateVersion

        return GateVersion(self.loader, self.datasets, self.kernels, self.records, self.reconcile)

    @cached_property
    def reconcile(self) -> ReconcileAliases:
        """Make the registry's aliases follow our release table."""
        from pynomaly.application.reconcile import ReconcileAliases

        return ReconcileAliases(self.records, self.registry)

    @cached_property
    def promote(self) -> PromoteRelease:
        """Let a gated release serve."""
        from pynomaly.application.promote import PromoteRelease

        return PromoteRelease(self.records, self.registry, self.reconcile)

    @cached_property
    def score(self) -> ScoreDataset:
        """Score staged rows with the champion."""
        from pynomaly.application.score import ScoreDataset

        return ScoreDataset(
            self.datasets,
            self.sinks,
            self.records,
            self.loader,
            self.kernels,
            self.settings.home / "scores",
            self.settings.scoring.batch_rows,
        )

    @cached_property
    def top_alerts(self) -> TopAlerts:
        """The strongest alerts of a run."""
        from pynomaly.application.alerts import TopAlerts

        return TopAlerts(self.records, self.datasets, self.sinks)

    @cached_property
    def write_report(self) -> WriteRunReport:
        """Write the page about a run."""
        from pynomaly.application.report import WriteRunReport

        return WriteRunReport(
            self.records,
            self.top_alerts,
            self.reports,
            self._reports_folder,
            self._plots_folder,
        )

    @cached_property
    def queries(self) -> Queries:
        """Questions about what was done."""
        from pynomaly.application.queries import Queries

        return Queries(self.records)
