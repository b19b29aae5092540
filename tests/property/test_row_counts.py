"""Rows in = rows accepted + rows quarantined, whatever the file looks like."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pynomaly import adapters
from pynomaly.application.validate import ValidateData
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.errors import ValidationFailedError
from pynomaly.domain.pipelines import Pipeline, ValidationPolicy
from pynomaly.domain.quality import ExpectationResult, RowFailure
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow.outputs import ParquetDatasetStore
from pynomaly.infrastructure.filesystem.targets import open_local_target
from pynomaly.infrastructure.reports.html import HtmlReports
from pynomaly.testing import InMemoryRecords


class RefuseNegative:
    """A validator with one row expectation of its own, and its session."""

    def session(self, pipeline: Pipeline) -> "RefuseNegative":
        return self

    def check_columns(self, columns: Sequence[tuple[str, str]]) -> tuple[ExpectationResult, ...]:
        return ()

    def check_rows(
        self, chunk: pa.Table, unreadable: Sequence[RowFailure] = ()
    ) -> tuple[RowFailure, ...]:
        values = chunk.column("a").to_pylist()
        return tuple(
            RowFailure(i, "a: negative") for i, v in enumerate(values) if v is not None and v < 0
        )

    def finish(self, read: Callable[[list[str]], pa.Table]) -> tuple[ExpectationResult, ...]:
        return ()


PIPELINE = Pipeline(
    "p",
    SourceSpec("unused"),
    Schema((Column("k", "id", nullable=False), Column("a", "numeric"))),
    id_columns=("k",),
    validation=ValidationPolicy(max_quarantine_share=1.0),
)
cells = st.sampled_from(["1", "2.5", "-3", "abc", "", "inf", "1e308", "NaN"])
lines = st.one_of(
    st.tuples(st.integers(0, 99).map(str), cells).map(",".join),
    st.sampled_from(["1,2,3", "7", ",5", '"8",9']),
)


def validation(folder: Path, records: InMemoryRecords) -> ValidateData:
    staged = ParquetDatasetStore(folder / "staged", open_local_target)
    return ValidateData(
        adapters.partition_reader(), staged, RefuseNegative(), records, HtmlReports(),
        folder / "reports",
    )  # fmt: skip


@settings(max_examples=40)
@given(st.lists(lines, min_size=1, max_size=30))
def test_no_row_is_lost_or_repeated(rows: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data.csv").write_text("\n".join(["k,a", *rows]) + "\n")
        records = InMemoryRecords()
        validate = validation(folder, records)
        spec = SourceSpec(str(folder / "data.csv"), delimiter=",")

        try:
            validated = validate(
                PIPELINE, spec, "run", validate.reader.plan(spec, partition_rows=10)
            )
        except ValidationFailedError as error:
            report = records.report(error.report_id)
            assert report is not None
            assert report.accepted == 0  # nothing else can reject under this policy
            assert report.quarantined == report.snapshot.rows == len(rows)
            return

        dataset = validated.dataset
        assert dataset.snapshot.rows == len(rows) == dataset.rows + dataset.quarantined
        staged = validate.datasets.table(dataset.uri)
        assert staged.num_rows == dataset.rows
        ids = staged.column("row_id").to_pylist()
        if dataset.quarantine_uri:
            refused = pq.read_table(dataset.quarantine_uri)
            assert refused.num_rows == dataset.quarantined
            assert all(refused.column("reason").to_pylist())
            ids += refused.column("row_id").to_pylist()
        assert len(set(ids)) == len(rows)


@pytest.mark.parametrize("bad", [0, 9])
def test_what_cannot_be_read_is_told_beside_what_comes_before_it(bad: int, tmp_path: Path) -> None:
    lines = [*["1,-2"] * bad, *["1,2"] * (10 - bad), '"1,2', *["1,2"] * 9]
    (tmp_path / "data.csv").write_text("\n".join(["k,a", *lines]) + "\n")
    validate = validation(tmp_path, InMemoryRecords())
    spec = SourceSpec(str(tmp_path / "data.csv"), delimiter=",")
    pipeline = replace(PIPELINE, validation=ValidationPolicy(max_quarantine_share=0.5))
    plan = validate.reader.plan(spec, partition_rows=100)
    if bad:
        with pytest.raises(ValidationFailedError, match="line 12 is never closed") as error:
            validate(pipeline, spec, "run", plan, to_score=True)
        assert "9 of 10 rows" in error.value.message
    else:
        report = validate(pipeline, spec, "run", plan, to_score=True).report
        (told,) = [r for r in report.results if r.severity == "warning" and not r.passed]
        assert "1 of 1 partitions cannot be" in told.sentence
        assert "line 12 is never closed" in told.sentence


def test_labels_of_rows_that_are_only_to_be_scored_are_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("k,a,fraud\n1,2,maybe\n2,3,1\n")
    validate = validation(tmp_path, InMemoryRecords())
    spec = SourceSpec(str(tmp_path / "data.csv"), delimiter=",")
    labelled = replace(
        PIPELINE, label_column="fraud",
        schema=Schema((*PIPELINE.schema.columns, Column("fraud", "numeric"))),
    )  # fmt: skip
    plan = validate.reader.plan(spec, partition_rows=100)
    assert validate(labelled, spec, "run", plan).report.quarantined == 1
    assert validate(labelled, spec, "run", plan, to_score=True).report.accepted == 2
