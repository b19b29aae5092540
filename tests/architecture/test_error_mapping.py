"""Every error has a place in the tree that people read, and the exit code that stands there."""

import ast
import inspect
import io
import json
import pickle
import re
from pathlib import Path

import pytest

from pynomaly.domain import errors
from pynomaly.domain.errors import PynomalyError
from pynomaly.presentation.cli.failures import report
from pynomaly.presentation.cli.session import Session

REPOSITORY = Path(__file__).parents[2]
EXIT_CODES = REPOSITORY / "docs" / "reference" / "exit-codes.md"


def tree():
    """Class to (parent, exit code), as the docstring draws it."""
    drawn = {}
    branch = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"^([│├└─ ]*)(\w+Error)\s+(\d)?", line)
        if match:
            depth = len(match.group(1)) // 4
            branch[depth:] = [match.group(2)]
            parent = branch[depth - 1] if depth else None
            code = int(match.group(3)) if match.group(3) else drawn[parent][1]
            drawn[match.group(2)] = (parent, code)
    return drawn


CLASSES = [
    cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, PynomalyError)
]


def test_the_drawn_tree_has_exactly_the_classes_there_are():
    assert set(tree()) == {cls.__name__ for cls in CLASSES}
    assert set(errors.__all__) == set(tree())


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_drawn_parent_and_exit_code_are_true(cls):
    parent, code = tree()[cls.__name__]
    assert code == cls.exit_code
    assert parent == (None if cls is PynomalyError else cls.__base__.__name__)


def test_nobody_derives_an_error_elsewhere():
    elsewhere = []
    for folder in ("src", "flows"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            if path == Path(errors.__file__):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    bases = {getattr(b, "attr", getattr(b, "id", None)) for b in node.bases}
                    if bases & set(errors.__all__):
                        elsewhere.append(f"{path}:{node.lineno} {node.name}")
    assert elsewhere == []


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_command_line_exits_with_the_code_of_the_error(cls, capsys):
    ids = {name: "id-1" for name in inspect.signature(cls).parameters if name.endswith("_id")}
    error = cls("what happened", hint="do this", **ids)
    stdout = io.StringIO()
    assert report(error, Session(as_json=True, stdout=stdout)) == cls.exit_code
    assert json.loads(stdout.getvalue()) == {
        "error": {
            "type": cls.__name__,
            "message": "what happened",
            "hint": "do this",
            "exit_code": cls.exit_code,
            **ids,
        }
    }
    stdout = io.StringIO()
    assert report(error, Session(as_json=False, stdout=stdout)) == cls.exit_code
    assert stdout.getvalue() == ""
    assert "error: what happened\n  → do this\n" in capsys.readouterr().err


@pytest.mark.skipif(not EXIT_CODES.exists(), reason="the reference is not written yet")
def test_the_reference_documents_every_exit_code():
    documented = {int(code) for code in re.findall(r"^\| *(\d+) *\|", EXIT_CODES.read_text(), re.M)}
    assert {0, *(cls.exit_code for cls in CLASSES)} <= documented


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_errors_cross_process_boundaries_whole(cls):
    ids = {
        "ValidationFailedError": {"report_id": "v"},
        "ReleaseBlockedError": {"release_id": "r"},
        "ApprovalPendingError": {"release_id": "r"},
    }
    error = cls("what happened", hint="what to do", **ids.get(cls.__name__, {}))
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
