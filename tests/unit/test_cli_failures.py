"""However a command ends: one message or one document, and the right exit code."""

import json
import os
import stat

import pytest

from pynomaly.domain.errors import ReleaseBlockedError
from pynomaly.presentation.cli.main import main
from pynomaly_flows.context import Event

PIPELINE = "source: a.csv\ncolumns: {a: numeric}\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    for variable in [name for name in os.environ if name.startswith("PYNOMALY_")]:
        monkeypatch.delenv(variable)
    folder = tmp_path / "conf" / "pipelines"
    folder.mkdir(parents=True)
    (folder / "payments.yaml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def launching(monkeypatch):
    """Let the flows do something else: raise, or call a function with ``on_event``."""

    def instead(act):
        def launch(flow, pipeline, settings, *, engine, params, on_event):
            if isinstance(act, BaseException):
                raise act
            return act(on_event)

        monkeypatch.setattr("pynomaly_flows.launch.launch", launch)

    return instead


def document(capsys):
    return json.loads(capsys.readouterr().out)


def test_an_unknown_pipeline_exits_2_and_suggests_the_nearest(project, capsys):
    assert main(["run", "paymnets"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "there is no pipeline `paymnets`" in err
    assert "→ did you mean `payments`?" in err


def test_an_unknown_pipeline_as_json_is_one_document(project, capsys):
    assert main(["status", "paymnets", "--json"]) == 2
    error = document(capsys)["error"]
    assert error["type"] == "UnknownPipelineError"
    assert error["exit_code"] == 2
    assert error["hint"] == "did you mean `payments`?"


@pytest.mark.parametrize(
    "arguments",
    [
        ["trian"],
        ["train"],
        ["train", "payments", "--trials", "0"],
        ["train", "payments", "--timeout", "inf"],
        ["train", "payments", "--engine", "spark"],
        ["train", "payments", "--oops"],
        ["release", "payments", "--version", "0"],
        ["profile"],
        ["init", "x"],
        ["models"],
    ],
)
def test_a_wrong_command_line_exits_2_in_words_and_as_json(project, capsys, arguments):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err
    assert main([*arguments, "--json"]) == 2
    error = document(capsys)["error"]
    assert error["type"] == "UsageError"
    assert error["exit_code"] == 2


def test_a_timeout_that_is_no_number_exits_2(project, capsys):
    assert main(["train", "payments", "--timeout", "nan"]) == 2
    assert "command line: training.timeout_seconds" in capsys.readouterr().err


def test_a_mistyped_command_suggests_the_nearest(project, capsys):
    main(["trian"])
    assert "Did you mean 'train'?" in capsys.readouterr().err


def test_a_broken_pipeline_file_gives_file_and_line(project, capsys):
    (project / "conf" / "pipelines" / "payments.yaml").write_text(f"{PIPELINE}trainig: {{}}\n")
    assert main(["run", "payments", "--engine", "direct"]) == 2
    err = capsys.readouterr().err
    assert "conf/pipelines/payments.yaml:3: trainig: unknown key; did you mean `training`?" in err


def test_a_blocked_release_exits_4_and_shows_every_gate(project, launching, capsys):
    gates = [
        {"gate": "recall", "verdict": "block", "sentence": "It finds 3 % less."},
        {"gate": "golden", "verdict": "pass", "sentence": "Rows score the same."},
    ]

    def act(on_event):
        facts = {"version": 2, "verdict": "block", "gates": gates}
        on_event(Event("started", "gate"))
        on_event(Event("finished", "gate", facts))
        raise ReleaseBlockedError("recall blocks version 2", release_id="r1", hint="look")

    launching(act)
    assert main(["release", "payments"]) == 4
    err = capsys.readouterr().err
    assert "It finds 3 % less." in err
    assert "error: recall blocks version 2\n  → look\n" in err
    assert main(["release", "payments", "--json"]) == 4
    shown = document(capsys)
    assert shown["error"]["release_id"] == "r1"
    assert shown["steps"]["gate"]["gates"] == gates


def test_anything_unexpected_exits_1_with_a_trace_id_and_a_log(project, launching, capsys):
    launching(ZeroDivisionError("of all things"))
    assert main(["run", "payments", "--json"]) == 1
    error = document(capsys)["error"]
    assert error["type"] == "ZeroDivisionError"
    assert error["trace_id"] in error["message"]
    assert "of all things" in error["message"]
    log = project / ".pynomaly" / "logs" / f"{error['trace_id']}.log"
    assert str(log) in error["hint"]
    assert "Traceback (most recent call last)" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_traceback_that_cannot_be_kept_is_printed(project, launching, capsys):
    (project / ".pynomaly").write_text("in the way")
    launching(ZeroDivisionError("of all things"))
    assert main(["run", "payments"]) == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert "printed above" in err


def test_ctrl_c_exits_130_and_says_that_nothing_partial_is_visible(project, launching, capsys):
    launching(KeyboardInterrupt())
    assert main(["run", "payments"]) == 130
    assert (
        "interrupted; nothing half-written is visible, what was committed stays"
        in capsys.readouterr().err
    )
    assert main(["run", "payments", "--json"]) == 130
    assert document(capsys)["error"]["exit_code"] == 130


def test_an_end_of_file_in_a_library_is_no_interrupt(project, launching, capsys):
    launching(EOFError("truncated"))
    assert main(["run", "payments"]) == 1
    assert "trace id" in capsys.readouterr().err


def test_what_libraries_print_does_not_reach_standard_output(project, launching, capsys):
    def act(on_event):
        print("chatter")
        return {"pipeline": "payments", "command": "run", "status": "completed", "steps": {}}

    launching(act)
    assert main(["run", "payments", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["status"] == "completed"
    assert "chatter" in err


def test_control_characters_do_not_reach_the_terminal(project, launching, capsys):
    launching(ReleaseBlockedError("column \x1b[2J\x07", release_id="r"))
    assert main(["run", "payments"]) == 4
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\\x1b[2J" in err
