import tempfile
import tracemalloc
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.errors import OutputNotWritableError
from pynomaly.domain.pipelines import Expectation, Pipeline, ValidationPolicy
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.great_expectations import spill
from pynomaly.infrastructure.great_expectations.uniqueness import SeenKeys
from pynomaly.infrastructure.great_expectations.validator import GreatExpectationsValidator

JOB = Pipeline(
    "p",
    SourceSpec("x"),
    Schema((Column("id", "id"), Column("x", "numeric"), Column("ok", "boolean"))),
    id_columns=("id",),
    validation=ValidationPolicy(
        expectations=(
            Expectation(
                "expect_column_values_to_be_between",
                {"column": "x", "min_value": 0, "mostly": 0.6},
                "critical",
            ),
            Expectation(
                "expect_column_values_to_be_between", {"column": "x", "max_value": 2}, "row"
            ),
            Expectation(
                "expect_column_values_to_be_in_set", {"column": "ok", "value_set": [True]}, "row"
            ),
            Expectation("expect_column_mean_to_be_between", {"column": "x", "max_value": 1}),
            Expectation(
                "expect_compound_columns_to_be_unique", {"column_list": ["x", "ok"]}, "row"
            ),
        )
    ),
)

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", None]),
        st.sampled_from([-1.0, 0.0, 1.0, 3.0, None]),
        st.sampled_from([True, False, None]),
    ),
    min_size=1,
    max_size=15,
)


def outcome(table, cuts):
    session = GreatExpectationsValidator().session(JOB)
    failures = []
    edges = [0, *sorted(cuts), table.num_rows]
    for start, end in pairwise(edges):
        failures += [
            (f.position + start, f.reason)
            for f in session.check_rows(table.slice(start, end - start))
        ]
    return failures, session.finish(table.select)


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, st.data())
def test_any_chunking_gives_the_verdict_of_the_whole(rows, data):
    ids, numbers, truths = zip(*rows, strict=True)
    table = pa.table(
        {
            "row_id": [str(i) for i in range(len(rows))],
            "id": pa.array(ids, pa.string()),
            "x": pa.array(numbers, pa.float64()),
            "ok": pa.array(truths, pa.bool_()),
        }
    )
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=2))
    assert outcome(table, cuts) == outcome(table, [])


KEY = st.sampled_from([None, "", "a", "b", "ab", "=", "-", "a\x00"])


@given(
    st.lists(st.tuples(KEY, KEY), min_size=1, max_size=40),
    st.lists(st.integers(0, 40), max_size=6),
    st.sampled_from(["all", "any", "never"]),
)
def test_repeated_keys_are_found_as_a_set_would_find_them(keys, cuts, ignore):
    table = pa.table({"a": [a for a, _ in keys], "b": [b for _, b in keys]})
    table = table.cast(pa.schema({"a": pa.string(), "b": pa.string()}))
    seen, expected, counted = set(), [], 0
    for position, key in enumerate(keys):
        missing = [part is None for part in key]
        if (ignore == "all" and all(missing)) or (ignore == "any" and any(missing)):
            continue
        counted += 1
        if key in seen:
            expected.append(position)
        seen.add(key)
    known, found, total = SeenKeys(("a", "b"), ignore), [], 0
    edges = [0, *sorted(min(cut, len(keys)) for cut in cuts), len(keys)]
    for start, end in pairwise(edges):
        considered, positions = known.add(table.slice(start, end - start))
        total += considered
        found += [int(position) + start for position in positions]
    assert (found, total) == (expected, counted)


def test_keys_are_known_whatever_files_they_were_merged_into_and_the_filter_says(monkeypatch):
    monkeypatch.setattr(spill, "_FEWEST_WORDS", 64)  # grows three times, then is good for nothing
    monkeypatch.setattr(spill, "_MOST_WORDS", 4_096)
    monkeypatch.setattr(spill, "_MANY", 500)
    draw = np.random.default_rng(5)
    known, seen = SeenKeys(("a",), "any"), set()
    for size in [
        *draw.integers(1, 300, 70).tolist(),
        100_000,
        *draw.integers(1, 9_000, 12).tolist(),
    ]:
        keys = [f"T{key}" for key in draw.integers(0, 200_000, size)]
        expected = []
        for at, key in enumerate(keys):
            if key in seen:
                expected.append(at)
            seen.add(key)
        assert known.add(pa.table({"a": keys}))[1].tolist() == expected
    assert len(known._known._runs) < 2 * spill._RUNS


def test_a_key_in_files_takes_no_memory():
    hashes = np.sort(np.random.default_rng(1).integers(0, 2**64, (400_000, 2), np.uint64), axis=0)
    known = spill.SpilledHashes()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for start in range(40):
            known.add(hashes[start::40])
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    filter_and_bounds = 8 * known._filter.words + len(known._runs) * 8 * (spill._SHARDS + 1)
    assert held < filter_and_bounds + 100_000
    assert known.contains(hashes).all()
    assert not known.contains(hashes ^ np.uint64(1)).any()


def test_zero_and_minus_zero_are_one_key():
    known = SeenKeys(("x",), "any")
    assert known.add(pa.table({"x": [0.0, -0.0, 1.5]}))[1].tolist() == [1]


def test_a_folder_for_temporary_files_that_cannot_be_used_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    keys = SeenKeys(("id",), "any_value_is_missing")
    with pytest.raises(OutputNotWritableError, match="gone") as caught:
        keys.add(pa.table({"id": ["a", "b"]}))
    assert "TMPDIR" in caught.value.hint
