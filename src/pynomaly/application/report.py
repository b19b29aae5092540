"""Write the page that tells what one run did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pynomaly.application.alerts import TopAlerts
from pynomaly.application.ports.records import Records
from pynomaly.application.ports.reporting import Reports, RunReport
from pynomaly.domain.errors import UsageError
from pynomaly.domain.profiles import Profile
from pynomaly.domain.runs import Run

__all__ = ["WriteRunReport"]

TOP_ALERTS = 20


@dataclass(frozen=True, slots=True)
class WriteRunReport:
    """Collect a run's records into one offline HTML file."""

    records: Records
    top_alerts: TopAlerts
    reports: Reports
    reports_folder: Path
    plots_folder: Path

    def __call__(
        self, run_or_pipeline: str, *, out: Path | None = None, profile: Profile | None = None
    ) -> Path:
        """Write the report and return its path.

        Args:
            run_or_pipeline: A run id, or a pipeline's name for its latest run.
            out: Where to write; under the platform's own folder where None.
            profile: Of the run's data, if at hand.

        Raises:
            UsageError: There is no such run.
        """
        run = self._run(run_or_pipeline)
        steps = self.records.steps(run.id)
        batches = self.records.batches_of(run.id)
        releases = self.records.releases_of(run.id)
        validations = [
            found
            for step in steps
            if (found := self.records.report(str(step.summary.get("report_id", ""))))
        ]
        page = self.reports.run_html(
            RunReport(
                run=run,
                steps=steps,
                validations=validations,
                release=releases[0] if releases else None,
                batches=batches,
                alerts=self.top_alerts(run.id, TOP_ALERTS),
                profile=profile,
                plots={
                    path.stem.replace("_", " ").capitalize(): path
                    for path in sorted((self.plots_folder / run.id).glob("*.png"))
                },
            )
        )
        target = out or self.reports_folder / f"run-{run.id}.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        partial.write_text(page, encoding="utf-8")
        partial.replace(target)
        return target

    def _run(self, run_or_pipeline: str) -> Run:
        run = self.records.run(run_or_pipeline)
        if run is not None:
            return run
        runs = self.records.runs(run_or_pipeline, 1)
        if not runs:
            raise UsageError(
                f"no run and no pipeline with a run is called '{run_or_pipeline}'",
                hint="see what ran: pynomaly history PIPELINE",
            )
        return runs[0]
