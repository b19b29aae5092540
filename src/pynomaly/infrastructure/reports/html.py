"""Self-contained HTML pages: inline style, inline pictures, no script, no request to anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pynomaly.domain.decision import score_threshold
from pynomaly.domain.pipelines import DecisionPolicy
from pynomaly.domain.scores import NO_REASON
from pynomaly.infrastructure.reports import formats, markdown
from pynomaly.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

    from pynomaly.application.card_page import CardPage
    from pynomaly.application.ports.reporting import RunReport
    from pynomaly.domain.detection import Detection
    from pynomaly.domain.profiles import Profile
    from pynomaly.domain.quality import ValidationReport
    from pynomaly.domain.releases import Release

__all__ = ["HtmlReports"]

# Of a scored row, everything else is an id.
_SCORED = {
    "score", "p_value", "is_anomaly", "severity", "reasons", "model_version", "policy_version",
    "scored_at",
}  # fmt: skip


class HtmlReports:
    """Implements :class:`pynomaly.application.ports.reporting.Reports`."""

    def validation_html(self, report: ValidationReport) -> str:
        """Return a self-contained page."""
        return self._render("validation.html.j2", f"Validation of {report.pipeline}", report=report)

    def validation_markdown(self, report: ValidationReport) -> str:
        """Return Markdown, for Prefect artifacts and terminals."""
        return markdown.validation(report)

    def gates_markdown(self, release: Release) -> str:
        """Return the gates as a Markdown table."""
        return markdown.gates(release)

    def profile_html(self, profile: Profile, title: str) -> str:
        """Return a self-contained page."""
        return self._render("profile.html.j2", title, profile=profile)

    def run_html(self, report: RunReport) -> str:
        """Return a self-contained page with plots inline."""
        return self._render(
            "run.html.j2",
            f"{report.run.pipeline} · {report.run.command}",
            report=report,
            outcome=_outcome(report),
            id_columns=_id_columns(report.alerts),
            pictures={title: _data_uri(path) for title, path in report.plots.items()},
        )

    def model_card_html(self, card: CardPage) -> str:
        """Return a self-contained page that is the same for equal cards."""
        return self._render("model_card.html.j2", card.title, card=card)

    def model_card_markdown(self, card: CardPage) -> str:
        """Return the same as Markdown."""
        return markdown.model_card(card)

    def detection_html(self, detection: Detection, again: str) -> str:
        """Return a self-contained page."""
        return self._render(
            "detection.html.j2",
            f"Anomalies in {detection.source}",
            found=detection,
            again=again,
            histogram=_histogram(detection),
        )

    @cached_property
    def _environment(self) -> Environment:
        from jinja2 import Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=PackageLoader("pynomaly.infrastructure.reports"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        for name in formats.__all__:
            environment.filters[name] = getattr(formats, name)
        environment.globals["no_reason"] = NO_REASON
        return environment

    def _render(self, template: str, title: str, **context: object) -> str:
        return self._environment.get_template(template).render(
            title=title, written_at=datetime.now(UTC), platform_version=__version__, **context
        )


_FOUND = {
    "ok": "The last scored batch looks as usual",
    "watch": "The last scored batch needs a look",
    "drift": "The last scored batch has drifted",
}


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The first thing a reader wants to know."""

    tone: str
    headline: str
    sentence: str


def _outcome(report: RunReport) -> _Outcome:
    run, release = report.run, report.release
    if release is not None and release.state == "blocked":
        serves = (
            f"Version {release.champion} keeps serving."
            if release.champion is not None
            else "No version serves yet."
        )
        decisive = [gate.sentence for gate in release.gates if gate.verdict == release.verdict]
        headline = f"Version {release.version} was not released"
        return _Outcome("bad", headline, " ".join([*decisive, serves]))
    if release is not None and release.state == "pending_approval":
        asking = [gate.sentence for gate in release.gates if gate.verdict == "review"]
        return _Outcome("warn", f"Version {release.version} waits for review", " ".join(asking))
    if run.status == "failed":
        return _Outcome("bad", "The run failed", run.error or "No reason was recorded.")
    if run.status == "running":
        return _Outcome("warn", "The run is still going", "This page shows what was done so far.")
    monitored = next((step.summary for step in report.steps if "findings" in step.summary), None)
    if monitored is not None:
        level = monitored["level"]
        notable = [f["sentence"] for f in monitored["findings"] if f["level"] == level != "ok"]
        why = ". ".join(notable) or "Alerts, scores and data are as they were"
        return _Outcome(formats.tone(level), _FOUND[level], f"{why}.")
    rejected = [v for v in report.validations if v.verdict == "rejected"]
    if release is not None and release.state == "production":
        before = (
            f"It replaced version {release.champion}."
            if release.champion is not None
            else "It is the first version that serves."
        )
        headline = f"Version {release.version} was released"
        sentence = f"{len(release.gates)} gates, together: {release.verdict}. {before}"
        clean = release.verdict == "pass" and not rejected
        return _Outcome("good" if clean else "warn", headline, sentence)
    if rejected:
        return _Outcome("bad", "Data was rejected", f"{len(rejected)} snapshot(s) did not pass.")
    if release is not None:
        return _Outcome(
            formats.tone(release.state),
            f"Version {release.version}: {formats.words(release.state)}",
            f"{len(release.gates)} gates, together: {release.verdict}.",
        )
    return _Outcome("good", "The run completed", "All its steps finished.")


def _id_columns(alerts: Sequence[Mapping[str, object]]) -> list[str]:
    return [name for name in (alerts[0] if alerts else ()) if name not in _SCORED]


@dataclass(frozen=True, slots=True)
class _Histogram:
    """Bars of a picture 400 × 100 large, and where the alert line stands (None: nowhere)."""

    bars: tuple[tuple[float, float], ...]
    width: float
    line: float | None


def _histogram(detection: Detection, bins: int = 50) -> _Histogram:
    """Draw the scores of ordinary rows, those behind the p-values."""
    scores = detection.model.calibration.scores
    low, high = float(scores[0]), max(float(scores[-1]), float(scores[0]) + 1e-9)
    counts, _ = np.histogram(scores, bins=bins, range=(low, high))
    width = 400 / bins
    bars = tuple(
        (i * width, 100 * float(n) / max(int(counts.max()), 1)) for i, n in enumerate(counts)
    )
    threshold = score_threshold(DecisionPolicy(budget=detection.alert_budget), scores)
    line = None if threshold is None else min(400.0, 400 * (threshold - low) / (high - low))
    return _Histogram(bars, width, line)


def _data_uri(png: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(png.read_bytes()).decode("ascii")
