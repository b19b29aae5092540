"""What a module offers stands in its ``__all__``: complete, sorted, and really there."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
MODULES = sorted(
    path
    for folder in ("src", "flows")
    for path in (REPOSITORY / folder).rglob("*.py")
    if "migrations" not in path.parts
)


def name_of(path):
    return str(path.relative_to(REPOSITORY))


def top_level(tree):
    """Return names that importing the module defines, without importing it."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                found |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.If):  # what a module imports lazily stands under TYPE_CHECKING
            found |= top_level(node)
    return found


def exported(tree):
    for node in tree.body:
        if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == [
            "__all__"
        ]:
            return ast.literal_eval(node.value)
    return None


def defines_something_public(tree):
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        for node in tree.body
    )


def order(name):
    """Constants, then classes, then the rest; numbers inside by value, as ruff sorts them."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    parts = re.split(r"(\d+)", name)
    return kind, [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_all_is_sorted_and_resolves(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = exported(tree)
    public = not path.name.startswith("_") or path.name == "__init__.py"
    if names is None:
        assert not (public and defines_something_public(tree)), "__all__ is missing"
        return
    assert names == sorted(names, key=order)
    assert len(names) == len(set(names))
    # A package names its submodules without importing them.
    submodules = {p.stem for p in path.parent.glob("*")} if path.name == "__init__.py" else set()
    assert set(names) <= top_level(tree) | submodules
    assert not [n for n in names if n.startswith("_") and not n.startswith("__")]
