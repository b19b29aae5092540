"""Layers of configuration: shipped defaults, conf/base, conf/$PYNOMALY_ENV, the environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from pynomaly.domain.deployments import TriggerPolicy
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.pipelines import (
    DecisionPolicy,
    ReleasePolicy,
    TrainingPolicy,
    ValidationPolicy,
)
from pynomaly.domain.rollouts import RolloutPolicy
from pynomaly.settings.documents import DEFAULT, Node, Origin, read_document, wrap
from pynomaly.settings.problems import suggestion
from pynomaly.settings.sections import EnvironmentText

__all__ = ["PREFIX", "environment_name", "find_project", "merge", "settings_tree", "yaml_files"]

PREFIX = "PYNOMALY_"
"""Of environment variables; ``__`` separates nested keys."""

_ENVIRONMENT = "PYNOMALY_ENV"


def find_project(start: Path) -> Path:
    """Return the nearest folder from ``start`` upwards that holds ``conf/``, else ``start``."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "conf").is_dir():
            return folder
    return start


def environment_name(project: Path, environ: Mapping[str, str]) -> str:
    """Return ``PYNOMALY_ENV``, by default ``local``.

    Raises:
        ConfigurationError: It names no folder of ``conf/``.
    """
    name = environ.get(_ENVIRONMENT) or "local"
    conf = project / "conf"
    known = {path.name for path in conf.iterdir() if path.is_dir()} if conf.is_dir() else set()
    known -= {"base", "pipelines"}
    if name != "local" and name not in known:
        known.add("local")
        nearest = get_close_matches(name, known, n=1)
        raise ConfigurationError(
            f"{_ENVIRONMENT} is {name!r}, but there is no folder {conf / name}",
            hint=f"did you mean `{nearest[0]}`?" if nearest else f"known: {sorted(known)}",
        )
    return name


def settings_tree(project: Path, environment: str, environ: Mapping[str, str]) -> Node:
    """Return all layers merged, the later over the earlier; nothing is checked against a model."""
    shipped = files("pynomaly").joinpath("conf_defaults")
    tree = merge(_folder(Path(str(shipped)), "pynomaly/conf_defaults"), _policies())
    for layer in ("base", environment):
        tree = merge(tree, _folder(project / "conf" / layer, f"conf/{layer}"))
    for overlay in _variables(environ, tree):
        tree = merge(tree, overlay)
    return tree


def merge(under: Node, over: Node) -> Node:
    """Lay ``over`` on ``under``: mappings key by key, anything else as a whole.

    An empty section (all its lines commented out) changes nothing.
    """
    if not isinstance(under.value, dict):
        return over
    if over.value is None:
        return under
    if not isinstance(over.value, dict):
        return over
    entries = dict(under.value)
    for key, node in over.value.items():
        entries[key] = merge(entries[key], node) if key in entries else node
    return Node(entries, over.origin)


def yaml_files(folder: Path) -> Iterable[Path]:
    """Return the YAML files directly in ``folder``, by name."""
    if not folder.is_dir():
        return ()
    return sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))


def _policies() -> Node:
    validation = asdict(ValidationPolicy())
    del validation["expectations"]
    decision = asdict(DecisionPolicy())
    decision["policy"] = decision.pop("kind")
    policies = {
        "validation": validation,
        "training": asdict(TrainingPolicy()),
        "release": asdict(ReleasePolicy()),
        "rollout": asdict(RolloutPolicy()),
        "decision": decision,
        "triggers": asdict(TriggerPolicy()),
    }
    return wrap({"pipeline_defaults": policies}, DEFAULT)


def _folder(folder: Path, shown: str) -> Node:
    tree = Node({}, Origin(shown))
    for path in yaml_files(folder):
        document = read_document(path, f"{shown}/{path.name}")
        _refuse_overlap(tree, document, ())
        tree = merge(tree, document)
    return tree


def _refuse_overlap(first: Node, second: Node, path: tuple[str, ...]) -> None:
    """Files of one layer have no order, so no value may stand in two of them."""
    if isinstance(first.value, dict) and isinstance(second.value, dict):
        for key in first.value.keys() & second.value.keys():
            _refuse_overlap(first.value[key], second.value[key], (*path, key))
    elif first.value is not None and second.value is not None:
        raise ConfigurationError(
            f"{second.origin}: `{'.'.join(path)}` is set twice in the same layer",
            hint=f"it is also set at {first.origin}; keep one of them",
        )


def _variables(environ: Mapping[str, str], tree: Node) -> Iterable[Node]:
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable != _ENVIRONMENT and environ[variable]:
            path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
            known = [f"{PREFIX}{'__'.join(key).upper()}" for key in _leaves(tree)]
            if variable not in known:
                near = suggestion(variable, known)
                raise ConfigurationError(
                    f"environment variable {variable} is no setting{near}",
                    hint=f"names beginning with {PREFIX} are reserved for settings; "
                    "`pynomaly config show` lists them",
                )
            yield _nested(path, environ[variable], variable)


def _nested(path: tuple[str, ...], text: str, variable: str) -> Node:
    origin = Origin(f"environment variable {variable}")
    node = Node(EnvironmentText(text), origin)
    for key in reversed(path):
        node = Node({key: node}, origin)
    return node


def _leaves(node: Node, path: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    if isinstance(node.value, dict):
        for key, part in node.value.items():
            yield from _leaves(part, (*path, key))
    else:
        yield path
