"""Reports: complete, offline, accessible, and deaf to mark-up in the data."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pynomaly.application.ports.reporting import Reports, RunReport
from pynomaly.domain.datasets import Fingerprint, Snapshot
from pynomaly.domain.gates import GateResult, Override
from pynomaly.domain.profiles import ColumnProfile, Profile
from pynomaly.domain.quality import ExpectationResult, ValidationReport
from pynomaly.domain.releases import Release
from pynomaly.domain.runs import Actor, Run, ScoredBatch, StepRecord
from pynomaly.infrastructure.reports import HtmlReports

HOSTILE = "<script>alert('x')</script>"
STARTED = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)

# The smallest PNG: one transparent pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360"
    "00000000050001a5f645400000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def reports() -> Reports:
    return HtmlReports()


def a_validation(name: str = "amount") -> ValidationReport:
    return ValidationReport(
        id="01JD-val",
        pipeline="card-payments",
        snapshot=Snapshot(
            "data/november.csv", Fingerprint("ab" * 32, "cd" * 32), (("txn_id", "string"),),
            rows=5_000, size_bytes=412_345,
        ),
        results=(
            ExpectationResult(
                "expect_column_values_to_not_be_null", name, "row", False,
                "12 missing", "none missing", 12, ("t-17", HOSTILE),
            ),
            ExpectationResult(
                "expect_column_values_to_be_between", "age", "critical", True, "18 to 91",
                "0 to 120",
            ),
        ),
        accepted=4_988,
        quarantined=12,
        max_quarantine_share=0.05,
        created_at=STARTED,
    )  # fmt: skip


def a_profile(name: str = "amount") -> Profile:
    return Profile(
        columns=(
            ColumnProfile(
                name, "numeric", "feature", "", "double", 0.0024, 4_321,
                ((0.0, 0.5), (0.5, 42.0), (1.0, 12_345.678)), (("42.0", 17),), 3.21,
                ("integers beyond 2^53 lose digits",),
            ),
            ColumnProfile(
                "seen_at", "datetime", "time", "named as time column", "timestamp[us]", 0.0, 4_999,
                ((0.0, 1.7e9), (1.0, 1e300)),
            ),
        ),
        rows=5_000,
        sampled_rows=2_000,
        duplicate_rows=3,
        contamination=(0.001, 0.02),
    )  # fmt: skip


def a_release() -> Release:
    return Release(
        id="01JD-rel",
        run_id="01JD-run",
        pipeline="card-payments",
        version=4,
        champion=3,
        state="production",
        verdict="review",
        gates=(
            GateResult("golden_rows", "pass", 1.5e-12, None, 1e-9, 20, "Golden rows agree."),
            GateResult("alert_rate", "review", 2.4, None, 2.0, 1_250, "It flags 2.4 × as many."),
        ),
        created_at=STARTED,
        promoted_at=STARTED,
        fence=4,
    )  # fmt: skip


def a_run_report(picture: Path, **changes: Any) -> RunReport:
    run = Run(
        id="01JD-run",
        pipeline="card-payments",
        command="run",
        engine="direct",
        actor=Actor("ada"),
        status="completed",
        started_at=STARTED,
        finished_at=STARTED + timedelta(seconds=75),
    )
    report = RunReport(
        run=run,
        steps=[
            StepRecord(
                run.id, "validate", "completed", STARTED, STARTED + timedelta(seconds=1.25),
                {"rows": 5_000, "verdict": HOSTILE, "nothing": None},
            )
        ],
        validations=[a_validation()],
        release=a_release(),
        batches=[
            ScoredBatch(
                "01JD-bat", run.id, "card-payments", "data/batch.parquet", "ef" * 32, 4, "p1",
                1_000, 990, 10, 9, "scores/batch.parquet", "00" * 32, "quarantine/batch.parquet",
                STARTED,
            )
        ],
        alerts=[
            {
                "txn_id": HOSTILE, "score": 3.21, "p_value": 0.0008, "is_anomaly": True,
                "severity": 77.4, "model_version": 4, "policy_version": "p1",
                "scored_at": STARTED,
                "reasons": [
                    {
                        "column": "amount", "contribution": 2.5, "direction": "high",
                        "value": "9,310", "share": 0.01,
                        "normal": "99 % of rows are at most 312",
                    }
                ],
            }
        ],
        profile=a_profile(),
        plots={"Score distribution": picture},
    )  # fmt: skip
    return replace(report, **changes)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "plot.png"
    path.write_bytes(PIXEL)
    return path


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == [], "unbalanced tags"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data


def every_page(reports: Reports, picture: Path, name: str = "amount") -> dict[str, str]:
    return {
        "validation": reports.validation_html(a_validation(name)),
        "profile": reports.profile_html(a_profile(name), f"Profile of {name}"),
        "run": reports.run_html(
            a_run_report(picture, validations=[a_validation(name)], profile=a_profile(name))
        ),
    }


def test_no_page_asks_the_network_for_anything(reports: Reports, picture: Path) -> None:
    for text in every_page(reports, picture).values():
        page = Page(text)
        assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object"})
        for _, attributes in page.tags:
            assert "srcset" not in attributes
            assert "style" not in attributes
            for name in ("src", "href", "action"):
                assert (attributes.get(name) or "data:").startswith("data:")
        assert "url(" not in text
        assert "@import" not in text
        assert "//" not in text.split("<body>")[0]
        assert "default-src 'none'" in text


def test_markup_in_names_ids_and_facts_is_shown_and_never_obeyed(
    reports: Reports, picture: Path
) -> None:
    for text in every_page(reports, picture, name=HOSTILE).values():
        page = Page(text)
        assert "script" not in {tag for tag, _ in page.tags}
        assert HOSTILE in page.text


def test_pages_are_accessible(reports: Reports, picture: Path) -> None:
    for text in every_page(reports, picture).values():
        tags = Page(text).tags
        assert dict(tags)["html"]["lang"] == "en"
        assert [tag for tag, _ in tags].count("h1") == 1
        assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
        assert all(attributes.get("scope") for tag, attributes in tags if tag == "th")
        counted = [tag for tag, _ in tags]
        assert counted.count("table") == counted.count("caption") == counted.count("thead") > 0
        assert "prefers-color-scheme: dark" in text
        assert "@media print" in text


def test_the_run_report_shows_every_part(reports: Reports, picture: Path) -> None:
    text = Page(reports.run_html(a_run_report(picture))).text
    for shown in (
        "Version 4 was released", "It replaced version 3", "1 min 15 s",  # header
        "1.25 s", "5,000", "12 quarantined",  # steps and counts
        "values to not be null", "12 missing", "none missing", "t-17",  # validation
        "golden rows", "1.5e-12", "1e-09", "It flags 2.4 × as many.", "1 of 2",  # gates
        "data/batch.parquet", "scores/batch.parquet", "0.91 %",  # batches
        "amount 9,310 — 99 % of rows are at most 312", "high", "77",  # alerts
        "Score distribution", "2023-11-14 22:13", "ada", "direct",
    ):  # fmt: skip
        assert shown in text, shown


def test_a_blocked_release_heads_the_page_with_the_gate_and_who_keeps_serving(
    reports: Reports, picture: Path
) -> None:
    gate = GateResult("injected_recall", "block", -0.3, -0.34, -0.1, 900, "It finds 30 % less.")
    release = replace(a_release(), state="blocked", verdict="block", gates=(gate,))
    text = Page(reports.run_html(a_run_report(picture, release=release))).text
    assert "Version 4 was not released" in text
    assert "It finds 30 % less. Version 3 keeps serving." in text


def test_a_failed_run_heads_the_page_with_its_error(reports: Reports, picture: Path) -> None:
    report = a_run_report(picture, release=None)
    failed = replace(report, run=replace(report.run, status="failed", error="disk full"))
    text = Page(reports.run_html(failed)).text
    assert re.search(r"The run failed\s+disk full", text)


def test_parts_that_did_not_happen_are_left_out(reports: Reports, picture: Path) -> None:
    report = a_run_report(
        picture, steps=(), validations=(), release=None, batches=(), alerts=(), profile=None,
        plots={},
    )  # fmt: skip
    text = Page(reports.run_html(replace(report, run=replace(report.run, finished_at=None)))).text
    for absent in ("Steps", "gates", "batches", "alerts", "Plots", "Validation", "Profile"):
        assert absent not in text
    assert "The run completed" in text


def test_a_rejected_snapshot_says_why(reports: Reports) -> None:
    text = Page(reports.validation_html(replace(a_validation(), max_quarantine_share=0.001))).text
    assert "More rows had to be refused than allowed" in text
    assert "rejected" in text


def test_markdown_of_a_validation_has_a_row_per_finding_and_a_count_of_the_rest(
    reports: Reports,
) -> None:
    text = reports.validation_markdown(a_validation("a|b"))
    row = next(line for line in text.splitlines() if "12 missing" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 8  # seven cells: the column's bar is no border
    assert r"a\|b" in row
    assert "<script>" not in text
    assert "1 of 2 expectations held" in text
    assert "passed with quarantine" in text


def test_a_replay_shows_what_appears_with_reasons_and_an_override_who_and_why(
    reports: Reports, picture: Path
) -> None:
    alert = {
        "batch": "b1",
        "ids": {"txn_id": "t-77", "day": "3"},
        "challenger_p_value": 0.0004,
        "champion_p_value": 0.21,
        "reasons": ["amount 9,450 — 99 % of rows are at most 312"],
    }
    replayed = GateResult(
        "replay", "review", 0.1, 0.2, 0.25, 900, "1 appears.", {"appear": [alert], "disappear": []}
    )
    slow = GateResult(
        "latency", "block", 300.0, None, 250.0, 20, "Too slow.", {},
        Override("latency", Actor("ada"), "approver", "Scored by night."),
    )  # fmt: skip
    release = replace(a_release(), gates=(replayed, slow))

    for text in (
        reports.gates_markdown(release),
        reports.run_html(a_run_report(picture, release=release)),
    ):
        for told in (
            "t-77, 3", "0.0004", "0.21", "99 % of rows are at most 312", "Scored by night.",
            "ada as approver",
        ):  # fmt: skip
            assert told in text.replace("\\", ""), told
        assert "disappear, the strangest" not in text
        assert "would disappear" not in text


def test_markdown_of_gates_has_a_row_per_gate(reports: Reports) -> None:
    text = reports.gates_markdown(a_release())
    assert "card-payments version 4: review" in text
    assert "| ✓ pass | golden rows | 1.5e-12 | – | 1e-09 | 20 |" in text
    assert "- ✓ **golden rows**: Golden rows agree." in text
    assert text.count("\n| ") == 4  # header, rule and two gates
