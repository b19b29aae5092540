"""What is wrong with a configuration, said with file and line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from pynomaly.domain.errors import ConfigurationError
from pynomaly.settings.documents import Node

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["Problem", "checked", "fail", "mask", "suggestion"]

_PASSWORD = re.compile(r"(://[^/@\s:]*:)[^/@\s]+@")
_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "finite_number": "a finite number",
    "int_from_float": "a whole number",
}
_BOUNDS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt"}
_BOUNDS["less_than_equal"] = "le"
_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}

Document = TypeVar("Document", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Args:
        path: Keys and list positions leading to it.
        message: What was expected and what was found.
    """

    path: tuple[int | str, ...]
    message: str


def mask(text: str) -> str:
    """Hide the password of every URL in ``text``.

    >>> mask("postgresql://ann:secret@db/pynomaly")
    'postgresql://ann:***@db/pynomaly'
    """
    return _PASSWORD.sub(r"\1***@", text)


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """Return ``; did you mean `x`?`` for the nearest known name, or an empty string.

    >>> suggestion("trails", ["trials", "seed"])
    '; did you mean `trials`?'
    """
    nearest = get_close_matches(wrong, list(known), n=1)
    return f"; did you mean `{nearest[0]}`?" if nearest else ""


def checked(model: type[Document], node: Node) -> Document:
    """Validate a tree against a pydantic model.

    Raises:
        ConfigurationError: Every problem, each with file and line.
    """
    try:
        return model.model_validate(node.plain())
    except ValidationError as error:
        problems = [_problem(model, details) for details in error.errors(include_url=False)]
    raise fail(node, problems)


def fail(node: Node, problems: Sequence[Problem]) -> ConfigurationError:
    """Turn problems into one error that gives the place of each."""
    lines = []
    for problem in problems:
        key = ".".join(str(part) for part in problem.path)
        lines.append(f"{node.at(problem.path)}: {f'{key}: ' if key else ''}{problem.message}")
    if len(lines) == 1:
        return ConfigurationError(lines[0])
    return ConfigurationError("\n  ".join([f"{len(lines)} problems in the configuration:", *lines]))


def _problem(model: type[BaseModel], details: ErrorDetails) -> Problem:
    path, kind, context = details["loc"], details["type"], details.get("ctx", {})
    if path and path[-1] == "[key]":  # pydantic's mark for a wrong key of a free mapping
        path = path[:-1]
    if kind == "extra_forbidden":
        known = _keys(model, path)
        hint = suggestion(str(path[-1]), known) or f"; known keys: {', '.join(known)}"
        return Problem(path, f"unknown key{hint}")
    if kind == "missing":
        return Problem(path, "missing")
    if kind == "value_error":
        return Problem(path, str(context.get("error", details["msg"])))
    found = _found(details["input"])
    if kind in _BOUNDS:
        bound = context[_BOUNDS[kind]]
        limit = int(bound) if bound == int(bound) else bound
        return Problem(path, f"expected a number {_SIGNS[_BOUNDS[kind]]} {limit}, found {found}")
    if kind == "literal_error":
        wrong = details["input"]
        choices = re.findall(r"'([^']+)'", context["expected"])
        near = suggestion(wrong, choices) if isinstance(wrong, str) else ""
        return Problem(path, f"expected one of {', '.join(choices)}, found {found}{near}")
    if kind == "too_short":
        return Problem(path, f"expected at least {context['min_length']}, found none")
    return Problem(path, f"expected {_EXPECTED.get(kind) or details['msg']}, found {found}")


def _found(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        shown = mask(value)
        return f"the text {shown[:60]!r}"
    if isinstance(value, int | float):
        return repr(value)
    return "a mapping" if isinstance(value, dict) else "a list"


def _keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys that may stand beside the last one of ``path``."""
    for part in path[:-1]:
        field = model.model_fields.get(str(part))
        # Keys of a free mapping (column names) and list positions do not change the model.
        if field is not None:
            model = _section(field.annotation) or model
    return list(model.model_fields)


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        section = _section(argument)
        if section is not None:
            return section
    return None
