"""Increments of one table by several jobs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from command_line import frame
from pynomaly.bootstrap import build
from pynomaly.domain.errors import SourceChangedError
from pynomaly.domain.identifiers import new_id
from pynomaly.domain.ledger import Output, Plan
from pynomaly.domain.pipelines import SourceSpec
from pynomaly.settings import load_settings


def test_an_increment_planned_before_another_one_is_refused(
    scoring_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scoring_project)
    platform = build(load_settings())
    pipeline = platform.pipeline("payments")
    spec = SourceSpec(f"sqlite:///{scoring_project}/rows.db", query="rows", watermark="n")
    rows = frame(200, 9).assign(n=range(200))

    def add(start: int, stop: int) -> None:
        with closing(sqlite3.connect("rows.db")) as database:
            rows[start:stop].to_sql("rows", database, if_exists="append", index=False)

    def plan() -> Plan:
        return platform.plan_scoring(pipeline, spec, incremental=True)

    def score(planned: Plan) -> int:
        run_id = new_id(datetime.now(UTC))
        validated = platform.validate(pipeline, spec, run_id, planned, to_score=True)
        return platform.score(pipeline, spec, validated, run_id, Output()).rows_scored

    add(0, 100)
    assert score(plan()) == 100
    add(100, 150)
    late = plan()
    add(150, 200)
    assert score(plan()) == 100
    with pytest.raises(SourceChangedError, match=r"above 99 were to be scored.* reach to 199"):
        score(late)
    assert plan().partitions == ()
