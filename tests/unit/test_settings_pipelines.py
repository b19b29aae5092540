"""Pipeline files become domain pipelines, or an error that says where and what."""

import pytest

from pynomaly.domain.datasets import Column
from pynomaly.domain.deployments import Schedule
from pynomaly.domain.errors import ConfigurationError, UnknownPipelineError
from pynomaly.domain.pipelines import Expectation
from pynomaly.domain.sources import SourceSpec
from pynomaly.settings import check_name, explain, load_pipeline, load_settings, pipeline_names
from pynomaly.settings.rules import cron_problem

WHOLE = """\
source: {uri: data/payments.csv, delimiter: ';'}
id: [txn_id]
time: ts
label: fraud
exclude: [notes]
columns:
  txn_id: id
  ts: datetime
  fraud: boolean
  amount: {kind: numeric, nullable: false}
  no: categorical
validation:
  max_quarantine_share: 0.1
  max_age_hours: 24
  min_rows: 10
  max_rows: null
  expectations:
    - expect_column_values_to_be_between: {column: amount, min_value: 0, mostly: 0.99}
      severity: row
    - expect_table_row_count_to_be_between:
        min_value: 3
training: {detectors: [iforest, knn], trials: 3, timeout_seconds: null, seed: 7}
release: {allow_inconclusive: true}
decision: {policy: threshold, threshold: 2}
triggers: {watch: true, scores_at_once: 2}
schedules:
  train: "0 3 * * 1"
  score: {cron: "*/5 * * * *", timezone: Europe/Berlin, parameters: {incremental: true}}
"""
SMALL = "source: a.csv\ncolumns: {a: numeric}\n"


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "conf" / "pipelines"
    folder.mkdir(parents=True)

    def write(text, name="payments", **layers):
        (folder / f"{name}.yaml").write_text(text)
        for layer, content in layers.items():
            (tmp_path / "conf" / layer).mkdir(exist_ok=True)
            (tmp_path / "conf" / layer / "pipelines.yaml").write_text(content)
        return load_settings(tmp_path, {})

    return write


def refused(settings, name="payments"):
    with pytest.raises(ConfigurationError) as caught:
        load_pipeline(name, settings)
    return str(caught.value)


def test_every_key_arrives_in_the_domain(project):
    settings = project(WHOLE)
    pipeline = load_pipeline("payments", settings)
    assert pipeline.name == "payments"
    assert pipeline.source == SourceSpec(f"{settings.project}/data/payments.csv", delimiter=";")
    assert pipeline.id_columns == ("txn_id",)
    assert pipeline.time_column == "ts"
    assert pipeline.label_column == "fraud"
    assert pipeline.excluded == ("notes",)
    assert pipeline.schema.names == ("txn_id", "ts", "fraud", "amount", "no")
    assert pipeline.schema["amount"] == Column("amount", "numeric", nullable=False)
    assert pipeline.schema["no"] == Column("no", "categorical", nullable=True)
    assert pipeline.validation.max_quarantine_share == 0.1
    assert pipeline.validation.max_age_hours == 24
    assert pipeline.validation.expectations == (
        Expectation(
            "expect_column_values_to_be_between",
            {"column": "amount", "min_value": 0, "mostly": 0.99},
            "row",
        ),
        Expectation("expect_table_row_count_to_be_between", {"min_value": 3}, "critical"),
    )
    assert pipeline.training.detectors == ("iforest", "knn")
    assert pipeline.training.timeout_seconds is None
    assert pipeline.training.max_rows == 20_000
    assert pipeline.release.allow_inconclusive is True
    assert (pipeline.decision.kind, pipeline.decision.threshold) == ("threshold", 2)
    assert (pipeline.triggers.watch, pipeline.triggers.scores_at_once) == (True, 2)
    assert pipeline.triggers.watch_seconds == 60
    assert pipeline.schedules == {
        "train": Schedule("0 3 * * 1"),
        "score": Schedule("*/5 * * * *", "Europe/Berlin", {"incremental": True}),
    }


def test_short_forms_of_source_id_and_column(project):
    settings = project("source: s3://bucket/x\nid: a\ncolumns: {a: id, b: numeric}\n")
    pipeline = load_pipeline("payments", settings)
    assert pipeline.source == SourceSpec("s3://bucket/x")
    assert pipeline.id_columns == ("a",)


def test_policies_come_from_the_layers_and_the_file_wins(project):
    settings = project(
        f"{SMALL}training: {{seed: 5}}\n",
        base="pipeline_defaults: {training: {trials: 8, seed: 1}, decision: {budget: 0.2}}\n",
        local="pipeline_defaults: {training: {trials: 9, seed: 2}}\n",
    )
    pipeline = load_pipeline("payments", settings)
    assert pipeline.training.trials == 9
    assert pipeline.training.seed == 5
    assert pipeline.decision.budget == 0.2
    origins = {e.key: e.origin for e in explain(settings, "payments")}
    assert origins["training.trials"] == "conf/local/pipelines.yaml:1"
    assert origins["training.seed"] == "conf/pipelines/payments.yaml:3"
    assert origins["release.recall_block"] == "default"


def test_a_database_cannot_be_watched(project):
    text = "source: postgresql://db/shop\ncolumns: {a: numeric}\ntriggers: {watch: true}\n"
    assert "payments.yaml:3: triggers.watch: only files and s3://" in refused(project(text))


def test_overrides_lie_over_the_file(project):
    settings = project(f"{SMALL}training: {{trials: 5, seed: 5}}\n")
    overriding = settings.overriding({"training": {"trials": 2}}, "command line")
    training = load_pipeline("payments", overriding).training
    assert (training.trials, training.seed) == (2, 5)
    wrong = settings.overriding({"training": {"trials": 0}}, "command line")
    assert refused(wrong).startswith("command line: training.trials: expected a number ≥ 1")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("sourc: x", "9: sourc: unknown key; did you mean `source`?"),
        ("training: {trails: 3}", "9: training.trails: unknown key; did you mean `trials`?"),
        ("id: txn", "9: id.0: `txn` is not under columns; did you mean `txn_id`?"),
        ("time: when", "9: time: `when` is not under columns"),
        ("time: txn_id", "9: time: `txn_id` is declared id; a time column is datetime or"),
        ("label: 'no'", "9: label: `no` is not under columns"),
        ("label: 5", "9: label: expected text, found 5"),
        ("exclude: [amount]", "9: exclude.0: `amount` stands under columns as well"),
        ("exclude: [x, x]", "9: exclude.1: `x` stands here twice"),
        ("id: [txn_id, txn_id]", "9: id.1: `txn_id` already stands under id"),
        (
            "schedules: {train: daily}",
            "9: schedules.train.cron: expected a cron expression of five",
        ),
        (
            "schedules: {train: {cron: '0 0 * * *', timezone: Europe/Berln}}",
            "9: schedules.train.timezone: unknown time zone `Europe/Berln`; did you mean",
        ),
        ("triggers: {watch_seconds: 0.1}", "9: triggers.watch_seconds:"),
        ("schedules: {trian: '0 0 * * *'}", "9: schedules.trian: expected one of train, release"),
        ("validation: {max_quarantine_share: 2}", "expected a number ≤ 1, found 2"),
        ("validation: {min_rows: 5, max_rows: 4}", "must not be below min_rows (5), is 4"),
        ("training: {trials: 0}", "expected a number ≥ 1, found 0"),
        ("training: {detectors: [iforst]}", "unknown detector `iforst`; did you mean `iforest`?"),
        ("training: {detectors: [cluster]}", "unknown detector `cluster`"),
        ("training: {detectors: iforest}", "expected a list, found the text 'iforest'"),
        ("training: {calibration_share: 1}", "expected a number < 1, found 1"),
        ("release: {recall_block: -0.01}", "must not be below recall_block (-0.01), is -0.05"),
        ("release: {alert_rate_review: 5}", "must not be below alert_rate_review (5"),
        ("decision: {policy: threshold}", "decision.threshold: missing"),
        ("decision: {policy: top_k}", "decision.k: missing"),
        ("decision: {policy: top_k, k: 0}", "expected a number ≥ 1, found 0"),
        ("decision: {policy: fdr, q: 1}", "expected a number < 1, found 1"),
        ("decision: {policy: alertbudget}", "did you mean `alert_budget`?"),
        ("validation: {expectations: [{severity: row}]}", "expected one `expect_…: {arguments}`"),
        ("validation: {expectations: [{expect_a: {}, expect_b: {}}]}", "found expect_a, expect_b"),
        ("validation: {expectations: [{expect_a: 5}]}", "expected a mapping of arguments"),
        ("validation: {expectations: [expect_a]}", "expected a mapping, found the text"),
        ("validation: {expectations: [{expect_a: {column: amuont}}]}", "did you mean `amount`?"),
        ("validation: {expectations: [{expect_a: {}, severity: warn}]}", "mean `warning`?"),
    ],
)
def test_a_wrong_pipeline_gives_file_line_and_reason(project, line, problem):
    columns = "columns:\n  txn_id: id\n  amount: numeric\n  ts: {kind: datetime, nullable: true}\n"
    settings = project(f"# 1\n# 2\n# 3\nsource: a.csv\n{columns}{line}\n")
    message = refused(settings)
    assert problem in message
    assert message.startswith("conf/pipelines/payments.yaml:9: ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "columns: missing"),
        ("source: x\ncolumns: {}\n", "columns: expected at least 1, found none"),
        ("columns: {a: numeric}\n", "source.uri: missing"),
        ("source: x\ncolumns: {a: numerc}\n", "columns.a.kind: expected one of numeric"),
        ("source: x\ncolumns: {a: {kind: numeric, nulable: true}}\n", "did you mean `nullable`?"),
        ("source: x\ncolumns: {a: {kind: numeric, nullable: yes}}\n", "expected true or false"),
        ("source: {uri: x, format: cvs}\ncolumns: {a: numeric}\n", "did you mean `csv`?"),
        ("source: {uri: x, delimiter: ';;'}\ncolumns: {a: numeric}\n", "source.delimiter: "),
        ("source: {uri: x, query: y}\ncolumns: {a: numeric}\n", "only a database has queries"),
        ("source: x\nsource: y\n", "`source` is set twice"),
    ],
)
def test_an_incomplete_pipeline_is_refused(project, text, problem):
    message = refused(project(text))
    assert "conf/pipelines/payments.yaml:" in message
    assert problem in message


def test_an_unknown_pipeline_suggests_the_nearest(project):
    settings = project(SMALL)
    with pytest.raises(UnknownPipelineError, match="did you mean `payments`"):
        load_pipeline("paymnets", settings)


def test_the_first_unknown_pipeline_says_how_to_create_it(tmp_path):
    with pytest.raises(UnknownPipelineError, match="pynomaly init x --data"):
        load_pipeline("x", load_settings(tmp_path, {}))


@pytest.mark.parametrize("name", ["../base/settings", "a/b", "", ".", "Payments", "x" * 64])
def test_a_name_cannot_leave_the_folder(project, name):
    settings = project(SMALL)
    with pytest.raises(UnknownPipelineError):
        load_pipeline(name, settings)
    with pytest.raises(ConfigurationError, match="cannot name a pipeline"):
        check_name(name)


def test_pipelines_are_listed_by_name(project):
    project(SMALL, "b")
    assert pipeline_names(project(SMALL, "a-1")) == ("a-1", "b")


@pytest.mark.parametrize(
    "good", ["* * * * *", "0 3 * * 1", "*/15 0-6,12 1 jan-mar mon", "5 4 * * SUN", "0 0 * * 7"]
)
def test_cron_expressions_are_accepted(good):
    assert cron_problem(good) is None


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("* * * *", "five fields"),
        ("@daily", "five fields"),
        ("60 * * * *", "minute '60'"),
        ("* * 0 * *", "day of month '0'"),
        ("* * * foo *", "month 'foo'"),
        ("* * * * 5-1", "runs backwards"),
        ("*/0 * * * *", "step of 0"),
        ("a b * * *", "minute 'a'"),
        ("1, * * * *", "cannot be read"),
    ],
)
def test_cron_expressions_are_refused(bad, problem):
    assert problem in cron_problem(bad)
