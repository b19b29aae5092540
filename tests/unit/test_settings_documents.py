"""YAML becomes a tree that knows its lines, or an error that does."""

import pytest

from pynomaly.domain.errors import ConfigurationError
from pynomaly.settings.documents import parse, read_document


def refused(text):
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "conf/x.yaml")
    return str(caught.value)


def test_every_value_knows_its_line():
    tree = parse("a: 1\nb:\n  c: [2,\n      3]\n", "conf/x.yaml")
    assert str(tree.at(("a",))) == "conf/x.yaml:1"
    assert str(tree.at(("b", "c", 1))) == "conf/x.yaml:4"


def test_the_place_of_a_missing_value_is_that_of_its_section():
    assert str(parse("a:\n  b: 1\n", "f").at(("a", "absent", 3))) == "f:1"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("1e-3", 1e-3),
        ("-1.5", -1.5),
        (".5", 0.5),
        ("007", 7),
        ("0x1F", 31),
        ("0o17", 15),
        ("12:30", "12:30"),
        ("2026-01-31", "2026-01-31"),
        ("1_000", "1_000"),
        ("'1'", "1"),
        ("!!str 1", "1"),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    found = parse(f"key: {text}", "f").plain()["key"]
    assert found == value
    assert type(found) is type(value)


def test_a_column_may_be_called_like_anything():
    text = "no: 1\n'': 2\n2026-01-01: 3\nnull: 4\n"
    assert list(parse(text, "f").plain()) == ["no", "", "2026-01-01", "null"]


def test_a_repeated_key_is_refused_with_both_places():
    message = refused("a: 1\nb: 2\na: 3\n")
    assert "conf/x.yaml:3: `a` is set twice" in message
    assert "conf/x.yaml:1" in message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1, 2\nb: 3\n", "conf/x.yaml:2:2"),
        ("a: 'open\n", "conf/x.yaml:2:1"),
        ("a: 1\n b: 2\n", "conf/x.yaml:2:3"),
        ("a: 1\n\tb: 2\n", "conf/x.yaml:2:1"),
        ("a: 1\n---\nb: 2\n", "conf/x.yaml:2:1"),
        ("a: *nowhere\n", "conf/x.yaml:1:4"),
    ],
)
def test_invalid_yaml_gives_file_line_and_column(text, place):
    assert refused(text).startswith(f"{place}: invalid YAML: ")


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['true']\n",
        "a: !env HOME\n",
        "a: !!binary aGk=\n",
        "a: !!set {b}\n",
    ],
)
def test_tags_construct_nothing(text):
    assert "is not supported" in refused(text)


@pytest.mark.parametrize("text", [".nan", ".inf", "-.INF", "1e999"])
def test_numbers_are_finite(text):
    assert "conf/x.yaml:1: expected a finite number" in refused(f"a: {text}\n")


def test_an_alias_is_resolved():
    assert parse("a: &x [1]\nb: *x\n", "f").plain() == {"a": [1], "b": [1]}


def test_an_alias_inside_itself_is_refused():
    assert "contains itself" in refused("a: &x [*x]\n")


def test_absurd_nesting_is_refused():
    assert "nested too deeply" in refused("[" * 20_000)


def test_a_control_character_is_refused_with_its_line():
    assert "conf/x.yaml:2: invalid YAML: control character" in refused("a: 1\nb: \x07\n")


def test_a_complex_key_is_refused():
    assert "a key must be plain text" in refused("? [a]\n: 1\n")


def test_an_empty_file_is_an_empty_mapping(tmp_path):
    (tmp_path / "x.yaml").write_text("# nothing\n")
    assert read_document(tmp_path / "x.yaml", "x.yaml").plain() == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n", "x.yaml:1: expected `key: value` lines"),
        (b"a: 1\nb: \xff\n", "x.yaml:2: not UTF-8: byte 0xff"),
    ],
)
def test_a_file_that_is_no_utf8_mapping_is_refused(tmp_path, content, message):
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        read_document(tmp_path / "x.yaml", "x.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(tmp_path / "x.yaml", "x.yaml").plain() == {"a": 1}


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_document(tmp_path, "x.yaml")
