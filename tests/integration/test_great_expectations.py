import os
import subprocess
import sys
import warnings
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from pynomaly.application.conform import conform
from pynomaly.application.profiling import profile_table
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.expectations import derive_expectations
from pynomaly.domain.pipelines import Expectation, Pipeline, ValidationPolicy
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.great_expectations.validator import GreatExpectationsValidator

pytestmark = pytest.mark.integration

NOW = datetime(2024, 1, 10, tzinfo=UTC)
SCHEMA = Schema(
    (
        Column("id", "id"),
        Column("x", "numeric", nullable=False),
        Column("y", "numeric"),
        Column("ok", "boolean"),
        Column("t", "datetime"),
        Column("c", "categorical"),
    )
)
RAW = {
    "id": ["T1", "T2", None, "T4", "T1", "x9"],
    "x": ["1", "9450", "3", "5", "4", "0"],
    "y": ["1", "1", "1", None, "-1", "-2"],
    "ok": ["true", "no", None, "1", "1", "1"],
    "t": ["2024-01-02", "2024-01-01T05:00:00Z", None, "2024-01-03", "2024-01-03", "2024-01-03"],
    "c": ["a", "b", None, "z", "a", "2"],
}


def pipeline(*expectations, ids=("id",), schema=SCHEMA, **policy):
    return Pipeline(
        "payments",
        SourceSpec("x.csv"),
        schema,
        id_columns=ids,
        time_column="t",
        validation=ValidationPolicy(expectations=expectations, **policy),
    )


def validate(job, columns=RAW, chunk_rows=None):
    """Return row failures by position in the whole, and results by (expectation, column)."""
    rows = len(next(iter(columns.values())))
    table = pa.table({"row_id": [f"x.csv#{i + 1}" for i in range(rows)], **columns})
    table, _ = conform(table, job)
    session = GreatExpectationsValidator(now=lambda: NOW).session(job)
    failures = []
    step = chunk_rows or max(rows, 1)
    for start in range(0, rows, step):
        chunk = table.slice(start, step)
        failures += [(f.position + start, f.reason) for f in session.check_rows(chunk)]
    results = session.finish(table.select)
    return failures, {(r.expectation, r.column): r for r in results}


def expect(kind, severity="row", **kwargs):
    return Expectation(f"expect_{kind}", kwargs, severity)


def reasons(*expectations):
    failures, _ = validate(pipeline(*expectations, ids=()))
    return failures


def test_importing_the_adapter_does_not_import_great_expectations():
    code = (
        "import sys, pynomaly.infrastructure.great_expectations.validator as v;"
        "v.GreatExpectationsValidator();"
        "assert not {'great_expectations', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_validation_writes_no_file_and_says_nothing(tmp_path):
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "import pyarrow as pa\n"
        "from pynomaly.domain.datasets import Column, Schema\n"
        "from pynomaly.domain.pipelines import Pipeline, SourceSpec\n"
        "from pynomaly.infrastructure.great_expectations.validator import (\n"
        "    GreatExpectationsValidator)\n"
        "job = Pipeline('p', SourceSpec('x'), Schema((Column('x', 'numeric', False),)))\n"
        "session = GreatExpectationsValidator().session(job)\n"
        "session.check_columns([('x', 'double')])\n"
        "table = pa.table({'row_id': ['1', '2'], 'x': [1.0, None]})\n"
        "assert len(session.check_rows(table)) == 1\n"
        "session.finish(table.select)\n"
    )
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.rglob("*")) == []


def test_loading_leaves_the_warnings_of_others_alone():
    GreatExpectationsValidator().session(pipeline())
    with pytest.warns(UserWarning, match="still shown"):
        warnings.warn("still shown", stacklevel=1)


def test_ids_must_be_there_and_only_the_first_of_equal_ones_is_kept():
    failures, results = validate(pipeline())
    assert failures == [
        (2, "id: expected a value, found none"),
        (4, "id: expected a value not seen before, found 'T1'"),
    ]
    unique = results["expect_column_values_to_be_unique", "id"]
    assert (unique.passed, unique.severity, unique.failing_rows) == (False, "row", 1)
    missing = results["expect_column_values_to_not_be_null", "id"]
    assert missing.sample_ids == ("x.csv#3",)


def test_compound_ids_are_unique_together():
    job = pipeline(ids=("id", "c"))
    columns = RAW | {"id": ["a", "a", "a", "b", None, None], "c": ["1", "2", "1", "1", "1", "1"]}
    failures, results = validate(job, columns)
    assert failures == [
        (2, "id, c: expected a combination not seen before, found 'a' and '1'"),
        (4, "id: expected a value, found none"),
        (5, "id: expected a value, found none"),
    ]
    assert results["expect_compound_columns_to_be_unique", "id, c"].sample_ids == ("a|1",)


@pytest.mark.parametrize(
    ("expectation", "expected"),
    [
        (
            expect("column_values_to_be_between", column="x", min_value=0, max_value=5_000),
            [(1, "x: expected between 0 and 5000, found 9450")],
        ),
        (
            expect("column_values_to_be_between", column="x", min_value=0, strict_min=True),
            [(5, "x: expected more than 0, found 0")],
        ),
        (
            expect("column_values_to_be_between", column="t", min_value="2024-01-02"),
            [(1, "t: expected at least '2024-01-02', found 2024-01-01T05:00:00Z")],
        ),
        (
            expect(
                "column_values_to_be_in_set", column="t", value_set=["2024-01-02", "2024-01-03"]
            ),
            [(1, "t: expected one of '2024-01-02', '2024-01-03', found 2024-01-01T05:00:00Z")],
        ),
        (
            expect("column_values_to_be_in_set", column="ok", value_set=[True]),
            [(1, "ok: expected one of true, found false")],
        ),
        (
            expect("column_values_to_be_in_set", column="c", value_set=["a", "b", 2]),
            [(3, "c: expected one of 'a', 'b', 2, found 'z'")],
        ),
        (
            expect("column_values_to_not_be_in_set", column="c", value_set=["z"]),
            [(3, "c: expected none of 'z', found 'z'")],
        ),
        (
            expect("column_values_to_match_regex", column="id", regex="^T"),
            [(5, "id: expected a match of /^T/, found 'x9'")],
        ),
        (
            expect("column_values_to_not_be_null", column="y"),
            [(3, "y: expected a value, found none")],
        ),
        (
            expect("column_pair_values_a_to_be_greater_than_b", column_A="x", column_B="y",
                   or_equal=True, ignore_row_if="either_value_is_missing"),
            [],
        ),
        (
            expect("multicolumn_sum_to_equal", column_list=["x", "y"], sum_total=2),
            [
                (i, f"x, y: expected a sum of 2, found {found}")
                for i, found in [
                    (1, "9450 and 1"), (2, "3 and 1"), (3, "5 and none"), (4, "4 and -1"),
                    (5, "0 and -2"),
                ]
            ],
        ),
        (
            expect("column_values_to_be_between", column="x", max_value=1,
                   row_condition='c == "a"', condition_parser="pandas"),
            [(4, "x: expected at most 1, found 4")],
        ),
    ],
    ids=lambda value: value.type if isinstance(value, Expectation) else "",
)  # fmt: skip
def test_rows_fail_with_a_reason_for_people(expectation, expected):
    assert reasons(expectation) == expected


def test_mostly_is_judged_on_the_total_and_rows_of_severity_row_are_refused_all_the_same():
    rule = expect("column_values_to_be_between", column="x", max_value=10, mostly=0.8)
    for chunk_rows in (None, 2):  # the second chunk of two holds 9450: half of it is bad
        failures, results = validate(pipeline(rule, ids=()), chunk_rows=chunk_rows)
        assert failures == [(1, "x: expected at most 10, found 9450")]
        result = results["expect_column_values_to_be_between", "x"]
        assert (result.passed, result.failing_rows) == (True, 1)
        assert result.allowed == "at most 10 for at least 0.8 of the values"


@pytest.mark.parametrize(
    ("expectation", "passed", "observed"),
    [
        (expect("column_mean_to_be_between", "critical", column="x", max_value=9), False, "1577.166667"),
        (expect("column_median_to_be_between", "critical", column="x", max_value=9), True, "3.5"),
        (expect("column_mean_to_be_between", "warning", column="ok", min_value=0.9), False, "0.8"),
        (
            expect("column_max_to_be_between", "critical", column="t", max_value="2024-01-02"),
            False,
            "2024-01-03T00:00:00Z",
        ),
        (
            expect("column_quantile_values_to_be_between", "critical", column="x",
                   quantile_ranges={"quantiles": [0.5], "value_ranges": [[0, 5]]}),
            True,
            "quantiles: 0.5, values: 3",
        ),
        (
            expect("column_unique_value_count_to_be_between", "warning", column="c", max_value=3),
            False,
            "4",
        ),
        (
            expect("column_distinct_values_to_be_in_set", "warning", column="c", value_set=["a"]),
            False,
            "'2', 'b', 'z'",
        ),
        (
            expect("column_values_to_be_decreasing", "warning", column="y"),
            True,
            "0 of 5 values against it",
        ),
        (expect("table_row_count_to_equal", "critical", value=5), False, "6 rows"),
    ],
    ids=lambda value: value.type if isinstance(value, Expectation) else "",
)  # fmt: skip
def test_expectations_about_a_whole_column_do_not_depend_on_chunks(expectation, passed, observed):
    for chunk_rows in (None, 4):
        failures, results = validate(pipeline(expectation, ids=()), chunk_rows=chunk_rows)
        result = results[expectation.type, expectation.kwargs.get("column")]
        assert (failures, result.passed, result.observed) == ([], passed, observed)
        assert result.severity == expectation.severity


def test_volume_and_freshness():
    _, results = validate(pipeline(min_rows=7, max_age_hours=24))
    volume = results["expect_table_row_count_to_be_between", None]
    assert (volume.passed, volume.severity, volume.observed) == (False, "critical", "6 rows")
    newest = results["expect_column_max_to_be_between", "t"]
    assert (newest.passed, newest.severity) == (False, "critical")
    assert newest.observed == "newest 2024-01-03T00:00:00Z"
    _, results = validate(pipeline(min_rows=6, max_rows=6, max_age_hours=24 * 7), chunk_rows=1)
    assert results["expect_table_row_count_to_be_between", None].passed
    assert results["expect_column_max_to_be_between", "t"].passed


def test_a_column_without_any_time_is_not_fresh():
    columns = RAW | {"t": pa.nulls(6, pa.string())}
    _, results = validate(pipeline(max_age_hours=24), columns)
    assert not results["expect_column_max_to_be_between", "t"].passed


def test_a_share_of_a_handful_of_values_never_refuses_a_batch():
    rule = expect("column_values_to_be_between", "critical", column="x", max_value=9, mostly=0.5)
    one = {name: cells[1:2] for name, cells in RAW.items()}
    _, results = validate(pipeline(rule), one)
    result = results["expect_column_values_to_be_between", "x"]
    assert (result.passed, result.severity) == (False, "warning")
    many = {name: cells[1:2] * 10 for name, cells in RAW.items()}
    _, results = validate(pipeline(rule), many)
    assert results["expect_column_values_to_be_between", "x"].severity == "critical"


def header(job, *columns):
    session = GreatExpectationsValidator().session(job)
    return {
        (r.expectation.removeprefix("expect_"), r.column): (r.severity, r.passed, r.observed)
        for r in session.check_columns(columns)
    }


def texts(*names):
    return [(name, "string") for name in names]


def test_missing_columns_are_critical_and_extra_and_reordered_ones_warn():
    found = header(pipeline(), *texts("x", "new", "id", "ok", "t", "c"))
    assert found["column_to_exist", "y"] == (
        "critical",
        False,
        "missing (not in the schema: 'new')",
    )
    assert found["column_to_exist", "x"] == ("critical", True, "present")
    spelled = header(pipeline(), *texts("X", "id", "ok", "t", "other"))
    assert spelled["column_to_exist", "x"][2] == "missing; the data has 'X'"
    missing = [spelled["column_to_exist", name][2] for name in ("y", "c")]
    assert missing == ["missing (not in the schema: 'X', 'other')", "missing"]  # told once
    assert found["table_columns_to_match_set", None] == (
        "warning", False, "extra columns 'new', not read",
    )  # fmt: skip
    assert found["table_columns_to_match_ordered_list", None] == (
        "warning", False, "order x, id, ok, t, c",
    )  # fmt: skip
    good = header(pipeline(), *texts(*SCHEMA.names))
    assert all(passed for _, passed, _ in good.values())


def test_a_missing_label_only_warns_for_then_labels_are_unknown():
    schema = Schema((*SCHEMA.columns, Column("fraud", "numeric")))
    job = pipeline(schema=schema)
    labelled = Pipeline(**{f: getattr(job, f) for f in job.__slots__} | {"label_column": "fraud"})
    assert header(labelled, *texts(*SCHEMA.names))["column_to_exist", "fraud"][0] == "warning"


def test_other_physical_types_warn_unless_the_source_has_only_texts():
    typed = [("id", "int64"), ("x", "string"), ("y", "double"), ("ok", "bool"),
             ("t", "timestamp[us, tz=UTC]"), ("c", "double")]  # fmt: skip
    found = header(pipeline(), *typed)
    kind = "column_values_to_be_of_type"
    assert {c: v[1] for (k, c), v in found.items() if k == kind} == {
        "id": True, "x": False, "y": True, "ok": True, "t": True, "c": False,
    }  # fmt: skip
    assert found[kind, "x"] == ("warning", False, "string")
    assert not any(k == kind for k, _ in header(pipeline(), *texts(*SCHEMA.names)))


def test_configured_expectations_about_columns_are_judged_on_the_source():
    rule = expect("table_column_count_to_equal", "critical", value=9)
    found = header(pipeline(rule), *texts(*SCHEMA.names))
    assert found["table_column_count_to_equal", None] == ("critical", False, "6")


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        (
            expect("column_value_to_be_between", column="x"),
            "did you mean 'expect_column_values_to_be_between'",
        ),
        (expect("column_values_to_be_between", column="x", minimum=1), "minimum: extra fields"),
        (expect("column_values_to_be_between", column="x", min_value=[1]), "min_value: "),
        (expect("column_values_to_be_between", min_value=1), "column: field required"),
        (expect("column_values_to_be_between", column="x", mostly=7, min_value=1), "mostly: "),
        (expect("column_values_to_not_be_null", column="okay"), "did you mean 'ok'"),
        (expect("column_mean_to_be_between", "row", column="x", min_value=1), "severity row needs"),
        (
            expect("query_results_to_match_comparison", "critical"),
            "needs a SQL data source",
        ),
        (
            expect("column_values_to_be_unique", column="x", row_condition="x > 1"),
            "row_condition is not supported",
        ),
    ],
)
def test_a_wrong_expectation_is_a_configuration_error(expectation, message):
    with pytest.raises(ConfigurationError, match=message):
        GreatExpectationsValidator().session(pipeline(expectation))


def test_freshness_without_a_time_column_is_a_configuration_error():
    job = Pipeline("p", SourceSpec("x"), SCHEMA, validation=ValidationPolicy(max_age_hours=1))
    with pytest.raises(ConfigurationError, match="needs a time column"):
        GreatExpectationsValidator().session(job)


def test_arguments_that_do_not_fit_the_column_are_a_configuration_error():
    with pytest.raises(ConfigurationError, match="on 'c' cannot be judged"):
        reasons(expect("column_values_to_be_between", column="c", min_value=1))


def test_two_sessions_side_by_side_do_not_mix():
    low = expect("column_values_to_be_between", column="x", max_value=2)
    high = expect("column_values_to_be_between", column="x", max_value=9_000)
    table, _ = conform(pa.table({"row_id": list("123456"), **RAW}), pipeline())
    first = GreatExpectationsValidator().session(pipeline(low, ids=()))
    second = GreatExpectationsValidator().session(pipeline(high, ids=()))
    assert [f.position for f in first.check_rows(table)] == [1, 2, 3, 4]
    assert [f.position for f in second.check_rows(table)] == [1]
    assert [f.position for f in first.check_rows(table)] == [1, 2, 3, 4]


def test_an_empty_chunk_and_all_missing_columns_are_fine():
    rule = expect("column_values_to_be_between", "critical", column="y", max_value=2)
    nothing = {name: pa.nulls(3, pa.string()) for name in SCHEMA.names}
    nothing |= {"id": ["a", "b", "c"], "x": ["1", "2", "3"]}
    failures, results = validate(pipeline(rule), nothing)
    assert failures == []
    assert results["expect_column_values_to_be_between", "y"].passed
    table, _ = conform(pa.table({"row_id": list("123456"), **RAW}), pipeline())
    assert GreatExpectationsValidator().session(pipeline()).check_rows(table.slice(0, 0)) == ()


def test_a_derived_suite_passes_a_second_sample_and_warns_of_unseen_levels():
    rng = np.random.default_rng(0)

    def draw(n, levels):
        return pa.table(
            {
                "row_id": [f"#{i}" for i in range(n)],
                "id": [f"T{i}" for i in range(n)],
                "amount": [None if r < 0.1 else str(r) for r in rng.lognormal(size=n)],
                "kind": rng.choice(levels, n).tolist(),
            }
        )

    profile = profile_table(draw(500, ["a", "b"]), 500, id_columns=("id",))
    job = Pipeline(
        "p", SourceSpec("x"), Schema(tuple(c.column for c in profile.columns)),
        id_columns=("id",),
        validation=ValidationPolicy(expectations=derive_expectations(profile)),
    )  # fmt: skip

    def failed(table):
        table, _ = conform(table, job)
        session = GreatExpectationsValidator().session(job)
        assert session.check_rows(table) == ()
        return {(r.column, r.severity) for r in session.finish(table.select) if not r.passed}

    assert failed(draw(500, ["a", "b"])) == set()
    assert failed(draw(500, ["a", "b", "new"])) == {("kind", "warning")}


def test_what_cannot_be_read_is_not_counted_as_missing():
    job = pipeline(schema=Schema((Column("x", "numeric", nullable=False),)), ids=())
    raw = pa.table({"row_id": list("abc"), "x": ["1", "oops", None], "t": ["2024-01-01"] * 3})
    table, unreadable = conform(raw, job)
    session = GreatExpectationsValidator(now=lambda: NOW).session(job)
    against = session.check_rows(table, unreadable)
    assert {failure.position for failure in against} == {2}
    (missing,) = [
        result
        for result in session.finish(table.select)
        if result.expectation == "expect_column_values_to_not_be_null"
    ]
    assert (missing.column, missing.failing_rows) == ("x", 1)


def test_what_cannot_be_read_is_against_no_comparison_with_another_column():
    greater = Expectation(
        "expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "x", "column_B": "y"},
        "row",
    )  # fmt: skip
    schema = Schema((Column("x", "numeric"), Column("y", "numeric")))
    job = pipeline(greater, schema=schema, ids=())
    cells = {"x": ["1", "oops", "2", "5"], "y": ["0", "3", "9", "1"]}
    raw = pa.table({"row_id": list("abcd"), **cells, "t": ["2024-01-01"] * 4})
    table, unreadable = conform(raw, job)
    session = GreatExpectationsValidator(now=lambda: NOW).session(job)
    assert [failure.position for failure in session.check_rows(table, unreadable)] == [2]
    (compared,) = [
        result for result in session.finish(table.select) if result.expectation == greater.type
    ]
    assert (compared.failing_rows, compared.observed[:6]) == (1, "1 of 3")
