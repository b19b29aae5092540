"""Layers: environment > conf/$PYNOMALY_ENV > conf/base > shipped defaults."""

from pathlib import Path

import pytest

from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.pipelines import (
    DecisionPolicy,
    ReleasePolicy,
    TrainingPolicy,
    ValidationPolicy,
)
from pynomaly.settings import explain, load_settings

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path):
    (tmp_path / "conf").mkdir()

    def write(**files):
        for name, text in files.items():
            layer, file = name.split("__")
            path = tmp_path / "conf" / layer / f"{file}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def refused(folder, environ=None):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(folder, environ or {})
    return str(caught.value)


def values(settings, pipeline=None):
    return {e.key: (e.value, e.origin) for e in explain(settings, pipeline)}


def test_an_empty_folder_has_the_shipped_defaults(tmp_path):
    settings = load_settings(tmp_path, {})
    assert settings.project == tmp_path
    assert settings.environment == "local"
    assert settings.home == tmp_path / ".pynomaly"
    assert settings.records.url == f"sqlite:///{tmp_path}/.pynomaly/pynomaly.db"
    assert settings.mlflow.tracking_uri == f"sqlite:///{tmp_path}/.pynomaly/mlflow.db"
    assert settings.scoring.batch_rows == 50_000
    assert settings.profiling.sample_rows == 100_000


def test_the_project_is_the_nearest_folder_with_a_conf(project):
    folder = project(base__settings="home: state\n")
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    assert load_settings(deep, {}).project == folder
    assert load_settings(deep, {}).home == folder / "state"


def test_each_layer_lies_over_the_one_below_and_is_named_as_the_origin(project):
    folder = project(
        base__settings="home: a\nscoring: {batch_rows: 1}\nprofiling:\n  sample_rows: 1\n",
        local__settings="scoring:\n  batch_rows: 2\nprofiling: {sample_rows: 2}\n",
    )
    settings = load_settings(folder, {"PYNOMALY_PROFILING__SAMPLE_ROWS": "3"})
    assert settings.home == folder / "a"
    assert settings.scoring.batch_rows == 2
    assert settings.profiling.sample_rows == 3
    shown = values(settings)
    assert shown["home"][1] == "conf/base/settings.yaml:1"
    assert shown["scoring.batch_rows"] == (2, "conf/local/settings.yaml:2")
    assert shown["profiling.sample_rows"] == (
        3,
        "environment variable PYNOMALY_PROFILING__SAMPLE_ROWS",
    )
    assert shown["records.url"][1].startswith("pynomaly/conf_defaults/settings.yaml:")
    assert shown["pipeline_defaults.training.trials"] == (20, "default")


def test_pynomaly_env_chooses_the_upper_folder(project):
    folder = project(
        local__settings="scoring: {batch_rows: 2}\n", production__x="scoring: {batch_rows: 9}\n"
    )
    assert load_settings(folder, {"PYNOMALY_ENV": "production"}).scoring.batch_rows == 9
    assert load_settings(folder, {"PYNOMALY_ENV": ""}).scoring.batch_rows == 2


@pytest.mark.parametrize("name", ["prodution", "base", "pipelines", "../base"])
def test_an_environment_without_a_folder_is_refused(project, name):
    folder = project(production__x="", pipelines__x="", base__x="")
    assert f"PYNOMALY_ENV is {name!r}" in refused(folder, {"PYNOMALY_ENV": name})


def test_a_mistyped_environment_suggests_the_nearest(project):
    folder = project(production__x="")
    assert "did you mean `production`?" in refused(folder, {"PYNOMALY_ENV": "prodution"})


def test_an_unknown_key_suggests_the_nearest_and_gives_file_and_line(project):
    folder = project(base__settings="home: x\n\nrecrods:\n  url: y\n")
    assert refused(folder) == (
        "conf/base/settings.yaml:3: recrods: unknown key; did you mean `records`?"
    )


def test_an_unknown_nested_key_suggests_its_neighbours(project):
    folder = project(base__p="pipeline_defaults:\n  training:\n    trails: 3\n")
    assert refused(folder) == (
        "conf/base/p.yaml:3: pipeline_defaults.training.trails: unknown key; did you mean `trials`?"
    )


def test_a_key_like_no_other_lists_the_known_ones(project):
    assert "known keys: batch_rows" in refused(project(base__s="scoring: {zzz: 1}\n"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("home: 5\n", "home: expected text, found 5"),
        ("home: ''\n", "home: "),
        ("scoring: {batch_rows: '5'}\n", "expected a whole number, found the text '5'"),
        ("scoring: {batch_rows: 5.5}\n", "expected a whole number, found 5.5"),
        ("scoring: {batch_rows: true}\n", "expected a whole number, found true"),
        ("scoring: {batch_rows: 0}\n", "expected a number ≥ 1, found 0"),
        ("scoring: {batch_rows: null}\n", "expected a whole number, found nothing (null)"),
        ("scoring: [5]\n", "scoring: expected a mapping, found a list"),
        ("pipeline_defaults: {release: {allow_inconclusive: yes}}\n", "expected true or false"),
        ("pipeline_defaults: {decision: {budget: 1.5}}\n", "expected a number < 1, found 1.5"),
        ("pipeline_defaults: {training: {detectors: [knm]}}\n", "did you mean `knn`?"),
        ("pipeline_defaults: {training: {detectors: []}}\n", "expected at least 1"),
        ("pipeline_defaults: {validation: {expectations: []}}\n", "unknown key"),
        ("pipeline_defaults: {decision: {policy: threshold}}\n", "threshold: missing"),
        ("pipeline_defaults: {decision: {policy: fdrr}}\n", "one of alert_budget, threshold"),
    ],
)
def test_a_wrong_value_gives_place_expected_and_found(project, text, problem):
    message = refused(project(base__settings=text))
    assert message.startswith("conf/base/settings.yaml:1: ")
    assert problem in message


def test_all_problems_are_told_at_once(project):
    message = refused(project(base__a="home: 5\nrecrods: {}\n", local__b="scoring: 3\n"))
    assert "3 problems" in message
    assert "conf/base/a.yaml:1" in message
    assert "conf/base/a.yaml:2" in message
    assert "conf/local/b.yaml:1" in message


def test_files_of_one_layer_may_not_contradict_each_other(project):
    folder = project(base__a="scoring: {batch_rows: 1}\n", base__b="\nscoring: {batch_rows: 2}\n")
    message = refused(folder)
    assert "conf/base/b.yaml:2: `scoring.batch_rows` is set twice" in message
    assert "conf/base/a.yaml:1" in message


def test_files_of_one_layer_complete_each_other(project):
    folder = project(base__a="home: x\n", base__b="scoring: {batch_rows: 2}\n")
    assert load_settings(folder, {}).scoring.batch_rows == 2


def test_a_section_with_all_lines_commented_out_changes_nothing(project):
    assert load_settings(project(base__a="scoring:\n  # batch_rows: 2\n"), {}).scoring.batch_rows


def test_environment_variables_keep_text_and_read_the_rest(tmp_path):
    environ = {
        "PYNOMALY_HOME": "2026",
        "PYNOMALY_RECORDS__URL": "postgresql://ann@db/x",
        "PYNOMALY_PIPELINE_DEFAULTS__TRAINING__TIMEOUT_SECONDS": "null",
        "PYNOMALY_PIPELINE_DEFAULTS__TRAINING__DETECTORS": "[iforest, knn]",
        "PYNOMALY_PIPELINE_DEFAULTS__VALIDATION__MAX_AGE_HOURS": "1e1",
        "PYNOMALY_SCORING__BATCH_ROWS": "",
    }
    settings = load_settings(tmp_path, environ)
    assert settings.home == tmp_path / "2026"
    assert settings.records.url == "postgresql://ann@db/x"
    assert settings.scoring.batch_rows == 50_000


def test_a_wrong_environment_variable_is_named(tmp_path):
    assert refused(tmp_path, {"PYNOMALY_SCORING__BATCH_ROWS": "many"}) == (
        "environment variable PYNOMALY_SCORING__BATCH_ROWS: scoring.batch_rows: "
        "expected a whole number, found the text 'many'"
    )


def test_an_unknown_environment_variable_suggests_the_nearest(tmp_path):
    message = refused(tmp_path, {"PYNOMALY_HOEM": "x"})
    assert "PYNOMALY_HOEM is no setting; did you mean `PYNOMALY_HOME`?" in message


def test_passwords_are_masked_wherever_values_are_shown(tmp_path):
    environ = {"PYNOMALY_RECORDS__URL": "postgresql://ann:secret@db/x"}
    settings = load_settings(tmp_path, environ)
    assert settings.records.url == "postgresql://ann:secret@db/x"
    assert values(settings)["records.url"][0] == "postgresql://ann:***@db/x"
    environ = {"PYNOMALY_SCORING__BATCH_ROWS": "postgresql://ann:secret@db/x"}
    assert "secret" not in refused(tmp_path, environ)


def test_a_sqlite_url_is_relative_to_the_project(project):
    folder = project(base__s="records: {url: 'sqlite:///state/x.db'}\n")
    assert load_settings(folder, {}).records.url == f"sqlite:///{folder}/state/x.db"


def test_policies_that_nobody_sets_are_those_of_the_domain(tmp_path):
    shown = {
        key.removeprefix("pipeline_defaults."): value
        for key, (value, _) in values(load_settings(tmp_path, {})).items()
        if key.startswith("pipeline_defaults.")
    }
    for section, policy in {
        "validation": ValidationPolicy(),
        "training": TrainingPolicy(),
        "release": ReleasePolicy(),
        "decision": DecisionPolicy(),
    }.items():
        for name in policy.__dataclass_fields__:
            if (section, name) in {("validation", "expectations"), ("decision", "kind")}:
                continue
            value = getattr(policy, name)
            expected = list(value) if isinstance(value, tuple) else value
            assert shown[f"{section}.{name}"] == expected
    assert shown["decision.policy"] == DecisionPolicy().kind


@pytest.mark.parametrize("environment", ["local", "production"])
def test_the_configuration_of_this_repository_is_valid(environment):
    settings = load_settings(REPOSITORY, {"PYNOMALY_ENV": environment})
    assert settings.project == REPOSITORY


def test_threads_are_left_to_the_machine_unless_set(project):
    folder = project(base__s="home: a\n")
    assert load_settings(folder, {}).scoring.threads is None
    assert load_settings(folder, {"PYNOMALY_SCORING__THREADS": "2"}).scoring.threads == 2
