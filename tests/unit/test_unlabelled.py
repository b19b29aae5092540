"""A pipeline as it reads rows that are only to be scored."""

from dataclasses import replace

from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.pipelines import Expectation, Pipeline, ValidationPolicy
from pynomaly.domain.sources import SourceSpec

PIPELINE = Pipeline("p", SourceSpec("unused"), Schema((Column("a", "numeric"),)))


def test_without_labels_no_expectation_looks_at_them_either() -> None:
    both = Expectation("expect_column_pair_values_to_be_equal", {"column_A": "a", "column_B": "y"})
    seen = Expectation("expect_column_values_to_not_be_null", {"column": "a"})
    given = Expectation(
        "expect_column_max_to_be_between",
        {"column": "a", "max_value": 1, "row_condition": "y == 0"},
    )
    other = Expectation(
        "expect_column_to_exist",
        {"column": "any", "column_index": 2, "row_condition": 'country == "y" and day > 3'},
    )
    schema = Schema((*PIPELINE.schema.columns, Column("y", "numeric")))
    policy = ValidationPolicy(expectations=(both, seen, given, other))
    found = replace(PIPELINE, schema=schema, label_column="y", validation=policy).unlabelled
    assert found.schema == PIPELINE.schema
    assert found.validation.expectations == (seen, other)
    assert (found.label_column, found.excluded) == (None, ("y",))
    assert PIPELINE.unlabelled is PIPELINE


def test_the_columns_of_a_condition_are_those_it_names() -> None:
    def about(condition: str) -> list[str]:
        one = Expectation("expect_x", {"column": "a", "row_condition": condition})
        return [name for name in ("y", "fraud", "fraud score") if one.concerns(name)]

    assert about("y > 1") == ["y"]
    assert about("`fraud score` > 3") == ["fraud score"]
    assert about("fraud == 'y' and day > 3") == ["fraud"]
    assert about('yes == "y\'s"') == []
