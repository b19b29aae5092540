"""Reports people read: one offline HTML file or Markdown, and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Trial
from pynomaly.domain.quality import ValidationReport

if TYPE_CHECKING:
    from pynomaly.application.card_page import CardPage
    from pynomaly.domain.detection import Detection
    from pynomaly.domain.profiles import Profile
    from pynomaly.domain.releases import Release
    from pynomaly.domain.runs import Run, ScoredBatch, StepRecord

__all__ = ["Plots", "Reports", "RunReport"]


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run report shows; parts that did not happen are empty.

    Args:
        run: The run.
        steps: Its steps.
        validations: Its validation reports.
        release: Its release, with gates.
        batches: What it scored.
        alerts: Most severe alerts: mappings with ids, score, p_value, severity, reasons.
        profile: Of the training data.
        plots: Title → PNG file.
    """

    run: Run
    steps: Sequence[StepRecord]
    validations: Sequence[ValidationReport]
    release: Release | None
    batches: Sequence[ScoredBatch]
    alerts: Sequence[Mapping[str, object]]
    profile: Profile | None
    plots: Mapping[str, Path]


class Reports(Protocol):
    """Renders without network: everything inline."""

    def validation_html(self, report: ValidationReport) -> str:
        """Return a self-contained page."""

    def validation_markdown(self, report: ValidationReport) -> str:
        """Return Markdown, for Prefect artifacts and terminals."""

    def gates_markdown(self, release: Release) -> str:
        """Return the gates as a Markdown table."""

    def profile_html(self, profile: Profile, title: str) -> str:
        """Return a self-contained page."""

    def run_html(self, report: RunReport) -> str:
        """Return a self-contained page with plots inline."""

    def model_card_html(self, card: CardPage) -> str:
        """Return a self-contained page that is the same for equal cards."""

    def model_card_markdown(self, card: CardPage) -> str:
        """Return the same as Markdown."""

    def detection_html(self, detection: Detection, again: str) -> str:
        """Return a self-contained page.

        Args:
            detection: What was found in a table.
            again: The command to run once some rows are labelled.
        """


class Plots(Protocol):
    """Draws PNG files."""

    def score_distribution(
        self, scores: NDArray[np.float64], threshold: float | None, path: Path
    ) -> None:
        """Histogram of calibration scores with the alert threshold."""

    def tuning_history(self, trials: Sequence[Trial], path: Path) -> None:
        """Objective by trial with the best so far; the incumbent marked."""

    def precision_recall(
        self, labels: NDArray[np.int_], scores: NDArray[np.float64], path: Path
    ) -> None:
        """Precision–recall curve with average precision in the title."""
