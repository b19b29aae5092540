"""Tables in Markdown, for Prefect artifacts and terminals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pynomaly.domain.gates import Override
from pynomaly.domain.quality import ExpectationResult, ValidationReport
from pynomaly.domain.releases import Release
from pynomaly.infrastructure.reports import formats

if TYPE_CHECKING:
    from pynomaly.application.card_page import CardPage

__all__ = ["gates", "model_card", "validation"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~&])")
_MARKS = {"pass": "✓", "review": "!", "block": "✗", "inconclusive": "?"}


def validation(report: ValidationReport) -> str:
    """Return a validation report: verdict, counts, then every expectation that found something.

    Args:
        report: What validation found.
    """
    snapshot = report.snapshot
    lines = [
        f"# Validation of {_text(report.pipeline)}: {formats.words(report.verdict)}",
        "",
        f"- Data: {_text(snapshot.uri)} ({snapshot.fingerprint})",
        f"- Rows: {snapshot.rows:,}; accepted {report.accepted:,}; quarantined "
        f"{report.quarantined:,} ({formats.share(report.quarantine_share)}, allowed "
        f"{formats.share(report.max_quarantine_share)})",
        f"- Checked: {formats.utc(report.created_at)}, report `{report.id}`",
        "",
    ]
    found = [r for r in report.results if not r.passed or r.failing_rows]
    held = len(report.results) - len(found)
    if found:
        header = (
            "verdict", "column", "expectation", "observed", "allowed", "failing rows", "sample ids",
        )  # fmt: skip
        lines += _table(header, (_row(result) for result in found))
        lines.append("")
    lines.append(f"{held:,} of {len(report.results):,} expectations held without an exception.")
    return "\n".join(lines) + "\n"


def gates(release: Release) -> str:
    """Return a release's gates as a table under its verdict.

    Args:
        release: With every gate's result.
    """
    champion = "none" if release.champion is None else f"version {release.champion}"
    header = ("verdict", "gate", "observed", "bound", "threshold", "n")
    rows = (
        (
            f"{_MARKS[gate.verdict]} {gate.verdict}",
            formats.words(gate.gate),
            formats.number(gate.observed),
            formats.number(gate.bound),
            formats.number(gate.threshold),
            formats.number(gate.n),
        )
        for gate in release.gates
    )
    lines = [
        f"# Release of {_text(release.pipeline)} version {release.version}: {release.verdict}",
        "",
        f"State {formats.words(release.state)}; compared with champion {champion}.",
        "",
        # Sentences wrap in a list; in Prefect's pages the end of a wide table is out of sight.
        *(
            f"- {_MARKS[gate.verdict]} **{formats.words(gate.gate)}**: {_text(gate.sentence)}"
            + (f" {_text(_waived(gate.override))}" if gate.override else "")
            for gate in release.gates
        ),
        "",
        *_table(header, rows),
    ]
    for details in (gate.details for gate in release.gates if gate.gate == "replay"):
        for kind in ("appear", "disappear"):
            if alerts := details.get(kind):
                lines += ["", f"## Alerts that {kind}, the strangest", "", *_alerts(alerts)]
    return "\n".join(lines) + "\n"


def model_card(card: CardPage) -> str:
    """Return a model card, section by section.

    Args:
        card: Sentences, facts and tables.
    """
    lines = [f"# {_text(card.title)}", "", _text(card.sentence), ""]
    for section in card.sections:
        lines += [f"## {_text(section.title)}", ""]
        for sentence in section.sentences:
            lines += [_text(sentence), ""]
        lines += [f"- {_text(name)}: {_text(formats.cell(value))}" for name, value in section.facts]
        if section.facts:
            lines.append("")
        if section.table is not None:
            rows = ([formats.cell(value) for value in row] for row in section.table.rows)
            lines += [*_table(section.table.columns, rows), ""]
    lines.append("Made of recorded facts alone; what is not on record is said to be so.")
    return "\n".join(lines) + "\n"


def _waived(override: Override) -> str:
    return f"Overridden by {override.actor.name} as {override.role}: {override.reason}"


def _alerts(alerts: Any) -> list[str]:
    """Return alerts of a replay as a list."""
    return [
        f"- **{_text(', '.join(alert['ids'].values()))}** (p-value "
        f"{formats.number(alert['challenger_p_value'])}, the champion's "
        f"{formats.number(alert['champion_p_value'])}): {_text('; '.join(alert['reasons']))}"
        for alert in alerts
    ]


def _row(result: ExpectationResult) -> Sequence[str]:
    verdict = f"{_MARKS['pass']} passed" if result.passed else f"{_MARKS['block']} failed"
    return (
        f"{verdict} ({result.severity})",
        result.column or "table",
        formats.expectation(result.expectation),
        result.observed,
        result.allowed,
        formats.number(result.failing_rows),
        ", ".join(result.sample_ids),
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    body = ["| " + " | ".join(_text(value) for value in row) + " |" for row in rows]
    return ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header), *body]


def _text(value: str) -> str:
    """Return text that no Markdown viewer takes for mark-up, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(value.split()))
