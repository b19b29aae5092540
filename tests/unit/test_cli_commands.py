"""Commands hand the right thing to flows and use cases, and show what comes back."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pynomaly.domain.profiles import ColumnProfile, Profile
from pynomaly.presentation.cli.main import main
from pynomaly.presentation.cli.render import runs
from pynomaly.presentation.cli.render.runs import judged
from pynomaly.presentation.cli.session import Session
from pynomaly.settings import load_pipeline, load_settings
from pynomaly_flows.context import Event

PIPELINE = "source: a.csv\nid: a\ncolumns: {a: id, b: numeric}\n"
STEPS = {
    "validate": {
        "rows": 1200, "accepted": 1190, "quarantined": 10, "warnings": 1,
        "quarantine_uri": "/q.parquet", "report_path": "/v.html",
    },
    "profile": {
        "columns": 3, "features": 1, "contamination": [0.001, 0.05], "dropped": {"c": "constant"},
    },
    "tune": {"trials": 4, "objective": "consensus_stability", "detector": "knn"},
    "train": {"detector": "knn", "fitted_rows": 900, "metrics": {"holdout_roc_auc": 0.98765}},
    "register": {"version": 2},
    "gate": {
        "version": 2, "verdict": "pass",
        "gates": [{"gate": "golden_rows", "verdict": "pass", "sentence": "All the same."}],
    },
    "promote": {"version": 2, "previous": 1},
    "score": {
        "rows_scored": 1190, "rows_flagged": 12, "model_version": 2, "output_uri": "/s.parquet",
    },
}  # fmt: skip


def run_document(command="run", steps=STEPS):
    return {
        "run_id": "r1",
        "pipeline": "payments",
        "command": command,
        "engine": "direct",
        "status": "completed",
        "seconds": 12.34,
        "steps": steps,
        "report": "/reports/run-r1.html",
    }


@pytest.fixture
def project(tmp_path, monkeypatch):
    for variable in [name for name in os.environ if name.startswith("PYNOMALY_")]:
        monkeypatch.delenv(variable)
    (tmp_path / "conf" / "pipelines").mkdir(parents=True)
    (tmp_path / "conf" / "pipelines" / "payments.yaml").write_text(PIPELINE)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


@pytest.fixture
def launched(monkeypatch):
    """Stand in for the flows; returns what they were asked."""
    asked = {}

    def launch(flow, pipeline, settings, *, engine, params, on_event):
        asked.update(
            flow=flow, pipeline=pipeline, settings=settings, engine=engine, params=dict(params)
        )
        on_event(Event("started", "validate"))
        on_event(Event("finished", "validate", STEPS["validate"]))
        document = run_document(flow)
        return {**document, "profile": PROFILE} if flow == "profile" else document

    monkeypatch.setattr("pynomaly_flows.launch.launch", launch)
    return asked


@pytest.fixture
def platform(monkeypatch):
    """Stand in for the platform."""

    def install(double):
        monkeypatch.setattr(Session, "platform", double)
        return double

    return install


@pytest.mark.parametrize("flow", ["run", "validate", "profile", "train", "score"])
def test_data_is_relative_to_the_working_folder(project, launched, capsys, flow):
    assert main([flow, "payments", "--data", "new.csv", "--engine", "direct"]) == 0
    assert launched["flow"] == flow
    assert launched["pipeline"] == "payments"
    assert launched["engine"] == "direct"
    assert launched["params"]["data"] == str(project / "elsewhere" / "new.csv")


def test_without_data_the_pipeline_decides(project, launched):
    assert main(["run", "payments"]) == 0
    assert launched["params"] == {"data": None}
    assert launched["engine"] == "auto"


def test_score_passes_output_and_overwrite(project, launched):
    asked = ["--out", "s.csv", "--overwrite", "--keep", "a", "--keep", "b", "--incremental"]
    assert main(["score", "payments", *asked, "--partition-by", "c"]) == 0
    assert launched["params"] == {
        "data": None,
        "out": str(project / "elsewhere" / "s.csv"),
        "overwrite": True,
        "keep": ["a", "b"],
        "partition_by": "c",
        "incremental": True,
    }
    assert main(["score", "payments", "--out", "s3://bucket/s.csv"]) == 0
    assert launched["params"]["out"] == "s3://bucket/s.csv"
    assert main(["score", "payments", "--out", "scores.v2/"]) == 0  # said to be a folder
    assert launched["params"]["out"] == str(project / "elsewhere" / "scores.v2") + "/"


def test_score_options_lie_over_the_settings_of_scoring(project, launched):
    assert (
        main(["score", "payments", "--workers", "3", "--batch-rows", "7", "--memory", "900"]) == 0
    )
    scoring = launched["settings"].scoring
    assert (scoring.workers, scoring.batch_rows, scoring.memory_mib) == (3, 7, 900)
    assert main(["score", "payments"]) == 0
    assert launched["settings"].scoring.batch_rows == 50_000


def test_release_passes_the_version(project, launched):
    assert main(["release", "payments", "--version", "3"]) == 0
    assert launched["params"] == {
        "version": 3, "strategy": None, "to": "production", "accept_review": False, "override": [],
        "reason": "", "resume": False,
    }  # fmt: skip


def test_train_options_lie_over_the_pipeline(project, launched):
    assert main(["train", "payments", "--trials", "3", "--timeout", "1.5", "--seed", "9"]) == 0
    training = load_pipeline("payments", launched["settings"]).training
    assert (training.trials, training.timeout_seconds, training.seed) == (3, 1.5, 9)
    assert main(["train", "payments"]) == 0
    assert load_pipeline("payments", launched["settings"]).training.trials == 20


def test_a_run_is_told_step_by_step_and_ends_with_commands_to_try(project, launched, capsys):
    assert main(["run", "payments"]) == 0
    out, err = capsys.readouterr()
    for sentence in (
        "run payments: completed in 12.3 s",
        "1,200 rows: 1,190 accepted, 10 quarantined, 1 warning",
        "3 columns, 1 features; 0.1 % to 5 % of rows far out in a column",
        "4 trials by consensus stability: knn beat the incumbent",
        "knn on 900 rows, holdout roc auc 0.9877",
        "pass: 1 of 1 gates pass version 2",
        "All the same.",
        "version 2 serves, before it version 1",
        "1,190 rows scored by version 2, 12 flagged",
        "/s.parquet",
        "/q.parquet",
        "/v.html",
        "/reports/run-r1.html",
        "pynomaly score payments --data",
    ):
        assert sentence in out
    assert "\x1b" not in out + err
    assert err.splitlines() == [
        "validate …",
        "validate: 1,200 rows: 1,190 accepted, 10 quarantined, 1 warning",
    ]


@pytest.mark.parametrize("given", [[], ["--reason", ""], ["--reason", " "]])
@pytest.mark.parametrize(
    "command", [["releases", "abort", "r1"], ["releases", "reject", "r1"], ["rollback", "payments"]]
)
def test_who_stops_a_release_says_why(project, capsys, command, given):
    assert main([*command, *given]) == 2
    assert "--reason" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (
            {"challenger": 2, "rows_by_challenger": 300},
            "6,000 rows scored, 5,700 by version 1 and 300 by version 2, 60 flagged",
        ),
        (
            {"challenger": 1, "rows_by_challenger": 300},
            "6,000 rows scored, 5,700 by version 1 and 300 by version 1 with a new decision "
            "policy, 60 flagged",
        ),
        ({"challenger": 2}, "6,000 rows scored by version 1, 60 flagged"),
        (
            {"rows_done_before": 4_000},
            "6,000 rows scored by version 1, 60 flagged; 4,000 of them had been scored before this run",
        ),
        (
            {"rows_done_before": 6_000},
            "6,000 rows scored by version 1, 60 flagged; all of them had been scored before this run",
        ),
        (
            {"challenger_absent": {"version": 2, "reason": "MLflow does not answer"}},
            "6,000 rows scored by version 1, 60 flagged. Version 2 took no part: MLflow does not "
            "answer",
        ),
    ],
)
def test_scoring_says_who_answered(facts, told):
    batch = {"rows_scored": 6_000, "rows_flagged": 60, "model_version": 1}
    assert runs.sentence("score", batch | facts) == told


def test_a_run_as_json_is_the_document_and_nothing_else(project, launched, capsys):
    assert main(["run", "payments", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == run_document()
    assert err


def test_pipelines_list_survives_a_broken_file(project, capsys):
    (project / "conf" / "pipelines" / "broken.yaml").write_text("source: [\n")
    assert main(["pipelines", "list", "--json"]) == 0
    broken, payments = json.loads(capsys.readouterr().out)["pipelines"]
    assert "conf/pipelines/broken.yaml:2:1: invalid YAML" in broken["error"]
    assert payments == {
        "name": "payments",
        "source": str(project / "a.csv"),
        "features": 1,
        "error": None,
    }
    assert main(["pipelines", "list"]) == 0
    assert "invalid YAML" in capsys.readouterr().out


def test_config_show_tells_value_and_origin(project, monkeypatch, capsys):
    monkeypatch.setenv("PYNOMALY_HOME", "/var/x")
    assert main(["config", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    values = {v["key"]: (v["value"], v["origin"]) for v in shown["values"]}
    assert values["home"] == ("/var/x", "environment variable PYNOMALY_HOME")
    assert main(["config", "show", "payments"]) == 0
    out = capsys.readouterr().out
    assert "conf/pipelines/payments.yaml:2" in out
    assert "default" in out


PROFILE = Profile(
    (
        ColumnProfile("a", "id", "id", "named as id", "string", 0.0, 100),
        ColumnProfile(
            "b",
            "numeric",
            "feature",
            "",
            "double",
            0.1,
            90,
            ((0.0, 0.1), (0.01, 1.0), (0.5, 3.0), (0.99, 9.0), (1.0, 9.5)),
        ),
        ColumnProfile("c", "constant", "dropped", "always 'x'", "string", 0.0, 1),
        ColumnProfile("d", "text", "dropped", "excluded", "string", 0.0, 99),
    ),
    rows=100,
    sampled_rows=100,
    duplicate_rows=0,
    contamination=(0.001, 0.01),
)


class Profiling:
    """A platform that can only profile."""

    def __init__(self):
        self.asked = None

    def profile_source(self, spec, **columns):
        self.asked = (spec, columns)
        return PROFILE


def test_init_writes_a_pipeline_that_loads(project, platform, capsys):
    double = platform(Profiling())
    (project / "x.csv").write_text("")
    arguments = ["init", "new", "--data", "../x.csv", "--id", "a", "--exclude", "d"]
    assert main([*arguments, "--json"]) == 0
    spec, columns = double.asked
    assert Path(spec.uri).resolve() == project / "x.csv"
    assert columns == {
        "id_columns": ("a",), "time_column": None, "label_column": None, "excluded": ("d",)
    }  # fmt: skip
    shown = json.loads(capsys.readouterr().out)
    assert shown["path"] == str(project / "conf" / "pipelines" / "new.yaml")
    assert shown["excluded"] == {"d": "excluded", "c": "always 'x'"}
    pipeline = load_pipeline("new", load_settings(project))
    assert pipeline.schema.names == ("a", "b")
    assert pipeline.id_columns == ("a",)
    assert pipeline.excluded == ("d", "c")
    assert pipeline.source.uri == str(project / "x.csv")
    assert not pipeline.schema["a"].nullable
    assert pipeline.schema["b"].nullable


def test_init_shows_the_profile_what_is_left_out_and_what_to_do_next(project, platform, capsys):
    platform(Profiling())
    assert main(["init", "new", "--data", "x.csv", "--id", "a"]) == 0
    out = capsys.readouterr().out
    assert "left out: c (always 'x')" in out
    assert "10 %" in out
    assert "Next:\n  pynomaly run new" in out


def test_init_leaves_an_existing_pipeline_alone(project, platform, capsys):
    platform(Profiling())
    assert main(["init", "payments", "--data", "x.csv"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    path = project / "conf" / "pipelines" / "payments.yaml"
    assert path.read_text() == PIPELINE
    assert main(["init", "payments", "--data", "x.csv", "--overwrite"]) == 0
    assert path.read_text() != PIPELINE


def test_init_refuses_a_name_that_is_no_file_name(project, platform, capsys):
    platform(Profiling())
    assert main(["init", "../x", "--data", "x.csv"]) == 2
    assert "cannot name a pipeline" in capsys.readouterr().err


def test_any_data_can_be_profiled(project, platform, capsys):
    double = platform(Profiling())
    assert main(["profile", "--data", "x.csv"]) == 0
    assert double.asked[0].uri == str(project / "elsewhere" / "x.csv")
    assert "100 rows, 0 duplicates" in capsys.readouterr().out
    assert main(["profile", "--data", "x.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["profile"]["rows"] == 100


WHEN = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Recorded:
    """A platform with a past."""

    @property
    def queries(self):
        return self

    @property
    def records(self):
        return self

    def pipelines(self):
        return ("gone",)

    def status(self, pipeline):
        return {
            "pipeline": pipeline,
            "champion": {"version": 2, "promoted_at": WHEN},
            "last_run": {
                "command": "run", "status": "failed", "engine": "direct", "started_at": WHEN,
                "error": "no rows",
            },
            "on_its_way": None,
        "last_release": {
                "version": 3, "state": "blocked", "verdict": "block", "created_at": WHEN,
                "gates": [{"gate": "recall", "verdict": "block", "sentence": "Too low."}],
            },
            "last_batch": {
                "rows_scored": 10, "rows_flagged": 1, "rows_quarantined": 0, "scored_at": WHEN,
                "output_uri": "/s.parquet", "kept": True, "partitions_gone": 0,
            },
            "versions": 3,
        }  # fmt: skip

    def history(self, pipeline, limit):
        steps = [{"step": "gate", "status": "failed", "summary": {"error": "recall blocks"}}]
        run = {
            "id": "r1", "command": "run", "engine": "direct", "status": "failed",
            "started_at": WHEN, "error": "recall blocks", "steps": steps,
        }  # fmt: skip
        return {"pipeline": pipeline, "runs": [run][:limit]}

    def models(self, pipeline):
        model = {
            "version": 2, "state": "production", "verdict": "pass", "created_at": WHEN,
            "training_fingerprint": "f" * 64, "manifest_digest": "d" * 64,
        }  # fmt: skip
        return {"pipeline": pipeline, "models": [model]}

    def write_report(self, about, *, out=None):
        path = out or Path(f"/reports/{about}.html")
        if out:
            out.write_text("page")
        return path


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        (["status", "payments"], ["version 2, since", "version 3 blocked", "Too low.", "no rows"]),
        (["history", "payments"], ["run (direct)", "failed: recall blocks"]),
        (["models", "list", "payments"], ["production", "ffffffffffff"]),
        (["report", "payments"], ["/reports/payments.html"]),
        (["report"], ["/reports/payments.html"]),
    ],
)
def test_the_past_is_shown_in_words_and_as_json(project, platform, capsys, arguments, sentences):
    platform(Recorded())
    assert main(arguments) == 0
    out = capsys.readouterr().out
    for sentence in sentences:
        assert sentence in out
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_the_past_of_a_removed_pipeline_can_still_be_read(project, platform):
    platform(Recorded())
    assert main(["status", "gone"]) == 0
    assert main(["status", "never"]) == 2


def test_a_report_goes_where_asked_but_not_over_anything(project, platform, capsys):
    platform(Recorded())
    assert main(["report", "payments", "--out", "page.html"]) == 0
    page = project / "elsewhere" / "page.html"
    page.write_text("mine")
    assert main(["report", "payments", "--out", "page.html"]) == 2
    assert page.read_text() == "mine"
    assert main(["report", "payments", "--out", "page.html", "--overwrite"]) == 0
    assert page.read_text() == "page"


def test_a_report_needs_to_know_about_what(project, platform, capsys):
    (project / "conf" / "pipelines" / "second.yaml").write_text(PIPELINE)
    platform(Recorded())
    assert main(["report"]) == 2
    assert "one of payments, second" in capsys.readouterr().err


def test_the_demo_shows_every_batch_against_the_truth(project, monkeypatch, capsys):
    asked = {}
    counts = {"rows_in": 59, "rows_quarantined": 4, "rows_flagged": 7}
    quality = {
        "anomalies": 3, "caught": 2, "false_alarms": 5, "roc_auc": 0.9487,
        "average_precision": 0.5,
    }  # fmt: skip

    def demo(folder, *, engine, on_event):
        asked.update(folder=folder, engine=engine)
        return {
            "training": run_document(),
            "batches": [
                {"name": f"batch-{n}", "story": "odd", **counts, **quality} for n in (1, 2)
            ],
            "overall": quality,
            "report": "/r.html",
            "next": ["cd demo"],
        }

    monkeypatch.setattr("pynomaly_flows.demo.demo", demo)
    assert main(["demo"]) == 0
    assert asked == {"folder": project / "elsewhere" / "pynomaly-demo", "engine": "prefect"}
    out = capsys.readouterr().out
    together = next(line for line in out.splitlines() if "together" in line)
    assert together.split()[1:4] == ["118", "8", "14"]
    assert "2 of 3 anomalies caught, 5 false alarms; ROC-AUC 0.9487" in out
    assert "Next:\n  cd demo" in out


def test_a_verdict_says_how_many_gates_were_overridden():
    gates = [{"override": None}, {"override": {"role": "risk"}}, {}]
    assert judged({"verdict": "pass", "gates": gates}) == "pass, 1 overridden"
    assert judged({"verdict": "review", "gates": gates[:1]}) == "review"
