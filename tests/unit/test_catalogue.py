"""The catalogue of detectors."""

from __future__ import annotations

import pytest

from pynomaly.domain.detectors import (
    CATALOGUE,
    FAMILIES,
    SEARCHED,
    Choice,
    FloatRange,
    IntRange,
    complete,
    detector,
)
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.pipelines import TrainingPolicy


@pytest.mark.parametrize("name", CATALOGUE)
def test_defaults_lie_inside_the_search_space(name):
    entry = detector(name)
    for parameter, space in entry.space.items():
        default = entry.defaults[parameter]
        match space:
            case Choice(values):
                assert default in values
            case IntRange(low, high) | FloatRange(low, high):
                assert low <= default <= high


def test_the_default_training_policy_names_families_with_the_ensemble_first():
    assert TrainingPolicy().detectors == SEARCHED
    assert FAMILIES[0] == SEARCHED[0] == "self_cleaning"


def test_an_unknown_detector_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="did you mean 'iforest'"):
        detector("iforrest")


def test_an_unknown_parameter_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="did you mean 'n_neighbors'"):
        complete("knn", {"n_neighbours": 3})
    with pytest.raises(ConfigurationError, match="it takes no parameters"):
        complete("ecod", {"anything": 3})
