"""A rendered pipeline reads back as itself, and a file is written whole or not at all."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.deployments import DEPLOYED_FLOWS, Schedule, TriggerPolicy
from pynomaly.domain.detectors import FAMILIES
from pynomaly.domain.errors import OutputExistsError, OutputNotWritableError
from pynomaly.domain.pipelines import (
    DecisionPolicy,
    Expectation,
    Pipeline,
    ReleasePolicy,
    TrainingPolicy,
    ValidationPolicy,
)
from pynomaly.domain.sources import SourceSpec
from pynomaly.settings import load_settings, parse_pipeline, render_pipeline, write_text

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
tricky = st.sampled_from(["no", "null", "~", "1e-3", "12:30", "<<", "=", "- a", "a: b", "#", "'"])
names = st.lists(text | tricky, min_size=4, max_size=7, unique=True)
finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | finite | text | tricky
kwargs = st.dictionaries(text, scalars | st.lists(scalars, max_size=3), max_size=3)
shares = st.floats(0.01, 0.99)

schedules = st.builds(
    Schedule,
    st.sampled_from(["0 3 * * 1", "*/5 * * * *"]),
    st.sampled_from(["UTC", "Europe/Berlin"]),
    st.dictionaries(text, scalars, max_size=2),
)


@st.composite
def pipelines(draw):
    columns = draw(names)
    kinds = st.sampled_from(["numeric", "categorical", "boolean", "datetime", "id", "text"])
    schema = [Column(name, draw(kinds), draw(st.booleans())) for name in columns[:-1]]
    expectations = st.builds(
        lambda rest, severity: Expectation(
            "expect_column_values_to_be_in_set", {**rest, "column": columns[0]}, severity
        ),
        kwargs.map(lambda k: {n: v for n, v in k.items() if not n.startswith("column_")}),
        st.sampled_from(["critical", "row", "warning"]),
    )
    threshold = draw(st.none() | finite)
    time = draw(st.sampled_from([None, columns[2]]))
    if time is not None:
        schema[2] = dataclasses.replace(
            schema[2], kind=draw(st.sampled_from(["datetime", "numeric"]))
        )
    return Pipeline(
        name="p-1",
        source=SourceSpec(
            draw(text.filter(bool)),
            draw(st.sampled_from([None, "csv", "excel"])),
            draw(st.sampled_from([None, ";", "\t", " "])),
            draw(st.none() | text),
        ),
        schema=Schema(tuple(schema)),
        id_columns=draw(st.sampled_from([(), (columns[0],), (columns[0], columns[1])])),
        time_column=time,
        label_column=None,
        excluded=(columns[-1],),
        validation=ValidationPolicy(
            tuple(draw(st.lists(expectations, max_size=3))),
            draw(shares),
            draw(st.none() | st.floats(0.1, 1e6)),
        ),
        training=TrainingPolicy(
            detectors=tuple(draw(st.lists(st.sampled_from(FAMILIES), min_size=1, unique=True))),
            seed=draw(st.integers(0, 2**32 - 1)),
        ),
        release=ReleasePolicy(min_first_recall=draw(shares)),
        decision=DecisionPolicy(
            draw(st.sampled_from(["fdr", "top_k", "alert_budget"]))
            if threshold is None
            else "threshold",
            draw(shares),
            threshold,
            draw(shares),
            draw(st.integers(1, 99)),
        ),
        triggers=TriggerPolicy(draw(st.booleans()), draw(st.floats(1, 1e6))),
        purpose=draw(st.none() | text.filter(bool) | tricky),
        schedules=draw(st.dictionaries(st.sampled_from(DEPLOYED_FLOWS), schedules)),
    )


@pytest.fixture(scope="module")
def defaults(tmp_path_factory):
    return load_settings(tmp_path_factory.mktemp("empty"), {})


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(pipelines(), st.text(max_size=20))
def test_a_rendered_pipeline_reads_back_as_itself(defaults, pipeline, note):
    written = render_pipeline(pipeline, {pipeline.excluded[0]: note})
    assert parse_pipeline("p-1", written, defaults) == pipeline


SMALL = Pipeline("p", SourceSpec("a.csv"), Schema((Column("a", "numeric"),)))


def test_policies_that_are_built_in_are_left_to_the_project():
    written = render_pipeline(SMALL)
    for section in ("validation:", "training:", "release:", "decision:"):
        assert f"\n{section}" not in written
    changed = dataclasses.replace(SMALL, training=TrainingPolicy(trials=3))
    assert "\ntraining:\n  trials: 3\n" in render_pipeline(changed)


def test_columns_stand_one_per_line():
    schema = Schema((Column("a", "numeric"), Column("b", "id", nullable=False)))
    written = render_pipeline(dataclasses.replace(SMALL, schema=schema))
    assert "\ncolumns:\n  a: numeric\n  b: {kind: id, nullable: false}\n" in written


def test_an_existing_file_keeps_its_bytes(tmp_path):
    path = tmp_path / "new" / "x.yaml"
    write_text(path, "first", overwrite=False)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_text(path, "second", overwrite=False)
    assert path.read_text() == "first"
    write_text(path, "third", overwrite=True)
    assert path.read_text() == "third"
    assert [p.name for p in path.parent.iterdir()] == ["x.yaml"]


def test_a_folder_that_cannot_be_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritableError, match="cannot be written"):
        write_text(tmp_path / "file" / "x.yaml", "text", overwrite=False)
