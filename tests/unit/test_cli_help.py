"""What the command line says about itself."""

import pytest

from pynomaly.presentation.cli.main import main

COMMANDS = [
    "detect", "init", "run", "validate", "profile", "train", "release",
    "releases", "releases list", "releases show", "releases watch", "releases approve",
    "releases reject", "releases pause", "releases resume", "releases abort", "releases reconcile",
    "rollback", "score", "scores", "scores read", "scores verify", "scores prune", "incidents", "incidents list",
    "incidents show", "verdicts", "verdicts record", "verdicts withdraw", "verdicts list", "monitor", "report",
    "status", "history", "models", "models list", "evidence", "evidence export", "evidence verify",
    "evidence key", "replay", "detectors", "detectors list", "detectors show", "pipelines",
    "pipelines list", "config", "config show", "doctor", "up", "down", "deploy",
    "trigger", "runs", "runs list", "runs watch", "demo",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_of_itself(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    out, err = capsys.readouterr()
    assert f"\nExample:\n  pynomaly {command}" in out
    assert err == ""


@pytest.mark.parametrize(
    "command",
    [
        c
        for c in COMMANDS
        if c
        not in (
            "releases",
            "models",
            "detectors",
            "pipelines",
            "config",
            "scores",
            "incidents",
            "verdicts",
            "evidence",
            "runs",
        )
    ],
)
def test_every_command_takes_json_and_verbose(command, capsys):
    main([*command.split(), "--help"])
    out = capsys.readouterr().out
    assert "--json" in out
    assert "--verbose" in out


@pytest.mark.parametrize(
    "command", ["run", "validate", "profile", "train", "release", "score", "monitor", "demo"]
)
def test_steps_take_an_engine(command, capsys):
    main([command, "--help"])
    assert "--engine [auto|direct|prefect]" in capsys.readouterr().out


def test_commands_are_listed_in_the_order_of_a_first_day(capsys):
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out.split("Commands:\n")[1].split("\n\n")[0]
    top = [name for name in COMMANDS if " " not in name]
    assert [line.split()[0] for line in listed.splitlines()] == top
    assert "..." not in listed


def test_the_version_is_that_of_the_package(capsys):
    from pynomaly import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pynomaly {__version__}\n"
