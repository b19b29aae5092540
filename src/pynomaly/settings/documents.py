"""YAML documents as trees that remember where every value was written.

Scalars follow the YAML 1.2 core schema: only ``true`` and ``false`` are booleans (a column may be
called ``no``), ``1e-3`` is a number, dates stay text.  Nothing is ever constructed from a tag.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pynomaly.domain.errors import ConfigurationError

__all__ = ["DEFAULT", "Node", "Origin", "core_resolvers", "parse", "read_document", "wrap"]

_TAG = "tag:yaml.org,2002:"
_NULL, _BOOL, _INT, _FLOAT = (f"{_TAG}{kind}" for kind in ("null", "bool", "int", "float"))
_CORE: tuple[tuple[str, str, str], ...] = (
    (_NULL, r"^(?:~|null|Null|NULL|)$", "~nN"),
    (_BOOL, r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    (_INT, r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    (_FLOAT, r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    (_FLOAT, r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+."),
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Args:
        source: A file as shown to people, ``environment variable X``, or ``default``.
        line: From 1; None outside files.
    """

    source: str
    line: int | None = None

    def __str__(self) -> str:
        """Return ``source:line``."""
        return self.source if self.line is None else f"{self.source}:{self.line}"


DEFAULT = Origin("default")
"""Origin of values that are built in."""

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it was written.

    Args:
        value: A scalar, a tuple of nodes, or a dict of nodes by key.
        origin: Line of the key for entries of a mapping, of the value otherwise.
    """

    value: Scalar | tuple[Node, ...] | dict[str, Node]
    origin: Origin

    def plain(self) -> Any:
        """Return the value as scalars, lists and dicts."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, tuple):
            return [node.plain() for node in self.value]
        return self.value

    def at(self, path: tuple[int | str, ...]) -> Origin:
        """Return the origin of the value at ``path``, or of its deepest ancestor that somebody set.

        What is missing or built in has no place of its own; the section around it has one.
        """
        node, origin = self, self.origin
        for part in path:
            value = node.value
            if isinstance(value, dict) and part in value:
                node = value[str(part)]
            elif isinstance(value, tuple) and isinstance(part, int) and part < len(value):
                node = value[part]
            else:
                break
            if node.origin != DEFAULT:
                origin = node.origin
        return origin


def wrap(value: Any, origin: Origin) -> Node:
    """Give every part of a plain value the same origin."""
    if isinstance(value, Mapping):
        return Node({str(key): wrap(part, origin) for key, part in value.items()}, origin)
    if isinstance(value, list | tuple):
        return Node(tuple(wrap(part, origin) for part in value), origin)
    return Node(value, origin)


def core_resolvers(target: Any) -> None:
    """Teach a PyYAML loader or dumper class the scalars of the YAML 1.2 core schema."""
    for tag, pattern, first in _CORE:
        starts = [*first, ""] if tag == _NULL else list(first)
        target.add_implicit_resolver(tag, re.compile(pattern), starts)


class _Loader(yaml.SafeLoader):
    """Composes nodes only; PyYAML's own YAML 1.1 resolvers are replaced."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own class attribute


core_resolvers(_Loader)


def read_document(path: Path, shown: str) -> Node:
    """Read a YAML file whose root is a mapping.

    Args:
        path: The file; an empty one is an empty mapping.
        shown: How messages and origins call it.

    Raises:
        ConfigurationError: Unreadable, not UTF-8, invalid YAML, duplicate keys, or no mapping.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{shown}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(
            f"{shown}:{line}: not UTF-8: byte 0x{error.object[error.start]:02x}",
            hint="save the file as UTF-8",
        ) from error
    root = parse(text, shown)
    if root.value is None:
        return Node({}, root.origin)
    if not isinstance(root.value, dict):
        raise ConfigurationError(f"{root.origin}: expected `key: value` lines at the top level")
    return root


def parse(text: str, shown: str) -> Node:
    """Parse one YAML document.

    Raises:
        ConfigurationError: Invalid YAML, with line and column; duplicate keys; foreign tags.
    """
    try:
        composed = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, shown) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigurationError(
            f"{shown}:{line}: invalid YAML: control character {error.character!r}"
        ) from error
    except RecursionError as error:
        raise ConfigurationError(f"{shown}: nested too deeply") from error
    if composed is None:
        return Node(None, Origin(shown, 1))
    return _node(composed, shown, Origin(shown, 1), ())


def _syntax_error(error: yaml.MarkedYAMLError, shown: str) -> ConfigurationError:
    mark = error.problem_mark or error.context_mark
    place = f"{shown}:{mark.line + 1}:{mark.column + 1}" if mark else shown
    context = f" ({error.context})" if error.context else ""
    return ConfigurationError(
        f"{place}: invalid YAML: {error.problem}{context}",
        hint="check indentation, colons, brackets and quotes on this line and the one above",
    )


def _node(composed: yaml.Node, shown: str, origin: Origin, parents: tuple[yaml.Node, ...]) -> Node:
    if any(composed is parent for parent in parents):
        raise ConfigurationError(f"{origin}: an alias refers to a value that contains itself")
    inside = (*parents, composed)
    if isinstance(composed, yaml.MappingNode) and composed.tag == f"{_TAG}map":
        entries: dict[str, Node] = {}
        for key, value in composed.value:
            place = Origin(shown, key.start_mark.line + 1)
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigurationError(f"{place}: a key must be plain text")
            if key.value in entries:
                first = entries[key.value].origin
                raise ConfigurationError(
                    f"{place}: `{key.value}` is set twice", hint=f"it is first set at {first}"
                )
            entries[key.value] = _node(value, shown, place, inside)
        return Node(entries, origin)
    if isinstance(composed, yaml.SequenceNode) and composed.tag == f"{_TAG}seq":
        parts = [(part, Origin(shown, part.start_mark.line + 1)) for part in composed.value]
        return Node(tuple(_node(part, shown, place, inside) for part, place in parts), origin)
    if isinstance(composed, yaml.ScalarNode):
        return Node(_scalar(composed.tag, composed.value, origin), origin)
    raise ConfigurationError(f"{origin}: the tag {composed.tag} is not supported")


def _scalar(tag: str, text: str, origin: Origin) -> Scalar:
    if tag == f"{_TAG}str":
        return text
    if tag == _NULL:
        return None
    if tag == _BOOL:
        return text.lower() == "true"
    try:
        if tag == _INT:
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if tag == _FLOAT:
            number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            if not math.isfinite(number):
                raise ConfigurationError(f"{origin}: expected a finite number, found {text}")
            return number
    except ValueError as error:
        raise ConfigurationError(f"{origin}: {text[:40]!r} is not a number") from error
    raise ConfigurationError(f"{origin}: the tag {tag} is not supported")
