"""The part of the composition root that leads from data to a registered model."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pynomaly.backends import Backends
from pynomaly.version import __version__

if TYPE_CHECKING:
    from pynomaly.application.incidents import FindIncidents
    from pynomaly.application.judgements import CollectJudgements
    from pynomaly.application.profile import ProfileDataset, ProfileSource
    from pynomaly.application.record_verdicts import RecordVerdicts
    from pynomaly.application.register import RegisterModel
    from pynomaly.application.train import FitModel
    from pynomaly.application.tune import TuneDetector
    from pynomaly.application.validate import ValidateData

__all__ = ["Learning"]


class Learning(Backends):
    """Use cases that look at data and at what people say about it, and learn from both."""

    @cached_property
    def validate(self) -> ValidateData:
        """Refuse bad data and stage the rest."""
        from pynomaly.application.validate import ValidateData

        return ValidateData(
            self.partitions,
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
        from pynomaly.application.tune import ChooseDetector, TuneDetector

        choose = ChooseDetector(self.fitter, self.kernels, self.tuner)
        return TuneDetector(self.datasets, choose)

    @cached_property
    def incidents(self) -> FindIncidents:
        """Alerts that belong together."""
        from pynomaly.application.incidents import FindIncidents
        from pynomaly.application.source_rows import ReadSourceRows

        rows = ReadSourceRows(self.partitions)
        return FindIncidents(self.ledger, self.parts, self.records, rows, self.verdicts)

    @cached_property
    def judgements(self) -> CollectJudgements:
        """What people said about rows, and which wait for it."""
        from pynomaly.application.judgements import CollectJudgements

        return CollectJudgements(self.verdicts, self.incidents)

    @cached_property
    def record_verdicts(self) -> RecordVerdicts:
        """Put on record what people say about rows."""
        from pynomaly.application.record_verdicts import RecordVerdicts
        from pynomaly.application.source_rows import ReadSourceRows

        rows = ReadSourceRows(self.partitions)
        return RecordVerdicts(
            self.verdicts, self.ledger, self.parts, rows, self.records, self.datasets
        )

    @cached_property
    def train(self) -> FitModel:
        """Fit, calibrate and freeze a model."""
        from pynomaly.application.fit import FitScorer
        from pynomaly.application.train import FitModel

        fit = FitScorer(self.fitter, self.label_fitter, self.kernels)
        return FitModel(
            self.datasets,
            fit,
            self.model_store,
            self._artifacts / "models",
            self._revision,
            self.judgements,
        )

    def _revision(self) -> dict[str, str]:
        """Tell of what code and configuration a model is made, as far as anybody knows."""
        from pynomaly.infrastructure.git import revision_of

        code = revision_of(Path(__file__).parent)
        project = self.settings.evidence.revision or revision_of(self.settings.project / "conf")
        told = {"pynomaly_revision": code, "project_revision": project}
        return {"pynomaly": __version__, **{key: value for key, value in told.items() if value}}

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
