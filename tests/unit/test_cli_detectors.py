"""`pynomaly detectors` tells what there is and what each costs."""

import json

import pytest

from pynomaly.domain.detectors import CATALOGUE
from pynomaly.domain.extensions import DetectorExtension, provided
from pynomaly.domain.uncertified import PREFIX, UNCERTIFIED
from pynomaly.presentation.cli.main import main


def document(capsys, *arguments):
    assert main(["detectors", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_detector_is_listed_with_its_standing(capsys):
    listed = {entry["name"]: entry for entry in document(capsys, "list")["detectors"]}
    assert {name for name, entry in listed.items() if entry["certified"]} == set(CATALOGUE)
    others = {name for name, entry in listed.items() if not entry["certified"]}
    assert others == {PREFIX + name for name in UNCERTIFIED}
    assert {entry["from"] for entry in listed.values()} == {"built in", "PyOD"}


def test_people_see_certified_and_uncertified_ones_apart(capsys):
    assert main(["detectors", "list"]) == 0
    certified, uncertified = capsys.readouterr().out.split("uncertified: ")
    assert "iforest" in certified
    assert "pyod:ABOD" in uncertified
    assert "the release gate refuses them" in uncertified


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_detector_is_shown_with_costs_parameters_and_reference(capsys, name):
    entry, shown = CATALOGUE[name], document(capsys, "show", name)
    for key in ("title", "finds", "fit_cost", "score_cost", "reference", "tolerance", "equals"):
        assert shown[key] == getattr(entry, key)
        assert shown[key]
    assert {p["name"]: p["default"] for p in shown["parameters"]} == dict(entry.defaults)
    assert {p["name"] for p in shown["parameters"] if p["search"]} == set(entry.space)


def test_search_spaces_are_told_in_words(capsys):
    assert main(["detectors", "show", "knn"]) == 0
    out = capsys.readouterr().out
    assert "3 to 50, log" in out
    assert "mean, largest, median" in out
    assert "to 1e-09 with PyOD's KNN" in out


def test_an_uncertified_detector_shows_the_parameters_pyod_gives_it(capsys):
    shown = document(capsys, "show", "pyod:ABOD")
    assert shown["certified"] is False
    assert {"n_neighbors", "method"} <= {p["name"] for p in shown["parameters"]}
    assert main(["detectors", "show", "pyod:ABOD"]) == 0
    assert "the release gate refuses it" in capsys.readouterr().out


def test_a_detector_of_another_package_says_where_it_comes_from(capsys):
    entry = CATALOGUE["ecod"].__class__(
        name="mine", title="Mine", finds="x", fit_cost="none", score_cost="none",
        reference="me", tolerance=1e-9, equals="numpy",
    )  # fmt: skip
    with provided(DetectorExtension(entry, None, None)):
        assert document(capsys, "show", "mine")["from"] == "this process unpackaged"
        assert "mine" in {entry["name"] for entry in document(capsys, "list")["detectors"]}


@pytest.mark.parametrize(("typo", "near"), [("iforrest", "iforest"), ("pyod:ABO", "pyod:ABOD")])
def test_an_unknown_name_suggests_the_nearest(capsys, typo, near):
    assert main(["detectors", "show", typo]) == 2
    assert f"did you mean '{near}'?" in capsys.readouterr().err
