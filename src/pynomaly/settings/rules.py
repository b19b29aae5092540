"""Rules of a pipeline file that concern several keys at once."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Collection, Iterator
from typing import Any

from pynomaly.domain.detectors import FAMILIES, families
from pynomaly.settings.problems import Problem, suggestion
from pynomaly.settings.sections import (
    DecisionSection,
    PipelineDocument,
    ReleaseSection,
    RolloutSection,
    ScoringSection,
    TrainingSection,
    ValidationDefaults,
)

__all__ = ["cron_problem", "pipeline", "policies", "scoring"]

_SEVERITIES = ("critical", "row", "warning")
_TIME_KINDS = ("datetime", "numeric")
_COLUMN_ARGUMENTS = ("column", "column_A", "column_B")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_CRON = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_PART = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?")


def pipeline(document: PipelineDocument) -> Iterator[Problem]:
    """Check a pipeline whose single values are right."""
    yield from _roles(document)
    split_by = document.rollout.split_by
    if split_by is not None and split_by not in document.columns:
        near = suggestion(split_by, document.columns)
        yield Problem(("rollout", "split_by"), f"`{split_by}` is not under columns{near}")
    yield from _expectations(document)
    yield from policies(document)
    uri = document.source.uri
    if document.triggers.watch and "://" in uri and not uri.startswith("s3://"):
        expected = "only files and s3:// can be watched; let a schedule score a database"
        yield Problem(("triggers", "watch"), expected)
    for flow, schedule in document.schedules.items():
        if problem := cron_problem(schedule.cron):
            yield Problem(("schedules", flow, "cron"), problem)
        if schedule.timezone not in (known := zoneinfo.available_timezones()):
            near = suggestion(schedule.timezone, known)
            problem = f"unknown time zone `{schedule.timezone}`{near}"
            yield Problem(("schedules", flow, "timezone"), problem)


def policies(document: Any, prefix: tuple[str, ...] = ()) -> Iterator[Problem]:
    """Check the policies of a pipeline, or of the defaults for pipelines.

    Args:
        document: Has ``validation``, ``training``, ``release``, ``rollout`` and ``decision``.
        prefix: Where it stands in the file.
    """
    checks = (
        ("validation", _volume(document.validation)),
        ("training", _detectors(document.training)),
        ("release", _thresholds(document.release)),
        ("rollout", _steps(document.rollout)),
        ("decision", _decision(document.decision)),
    )
    for section, problems in checks:
        for problem in problems:
            yield Problem((*prefix, section, *problem.path), problem.message)


def scoring(section: ScoringSection) -> Iterator[Problem]:
    """Check that what is said about a cluster is of use."""
    if section.scheduler is not None and section.compute != "dask":
        expected = f"a scheduler needs `compute: dask`, but it is {section.compute}"
        yield Problem(("scoring", "scheduler"), expected)


def _volume(policy: ValidationDefaults) -> Iterator[Problem]:
    if policy.max_rows is not None and policy.max_rows < policy.min_rows:
        yield Problem(
            ("max_rows",), f"must not be below min_rows ({policy.min_rows}), is {policy.max_rows}"
        )


def _detectors(policy: TrainingSection) -> Iterator[Problem]:
    for position, name in enumerate(policy.detectors):
        if name not in FAMILIES and name not in (known := families()):
            near = suggestion(name, known) or f"; known: {', '.join(FAMILIES)}"
            yield Problem(("detectors", position), f"unknown detector `{name}`{near}")


def _thresholds(policy: ReleaseSection) -> Iterator[Problem]:
    if policy.recall_review < policy.recall_block:
        yield Problem(
            ("recall_review",),
            f"must not be below recall_block ({policy.recall_block}), is {policy.recall_review}",
        )
    if policy.alert_rate_block_high < policy.alert_rate_review:
        yield Problem(
            ("alert_rate_block_high",),
            f"must not be below alert_rate_review ({policy.alert_rate_review}), "
            f"is {policy.alert_rate_block_high}",
        )
    if policy.training_share_review < policy.training_share_block:
        yield Problem(
            ("training_share_review",),
            f"must not be below training_share_block ({policy.training_share_block}), "
            f"is {policy.training_share_review}",
        )


def _steps(policy: RolloutSection) -> Iterator[Problem]:
    shares = policy.canary_shares
    if not shares or sorted(set(shares)) != shares:
        yield Problem(
            ("canary_shares",), f"expected growing shares such as [0.05, 0.25], is {shares}"
        )


def _decision(policy: DecisionSection) -> Iterator[Problem]:
    if policy.policy == "threshold" and policy.threshold is None:
        yield Problem(("threshold",), "missing; the policy `threshold` needs a score")
    if policy.policy == "top_k" and policy.k is None:
        yield Problem(("k",), "missing; the policy `top_k` needs a number of rows")


def _roles(document: PipelineDocument) -> Iterator[Problem]:
    columns = document.columns
    taken: dict[str, str] = {}
    named: list[tuple[tuple[int | str, ...], str]]
    named = [(("id", i), name) for i, name in enumerate(document.id)]
    if document.time is not None:
        named.append((("time",), document.time))
    if document.label is not None:
        named.append((("label",), document.label))
    for path, name in named:
        key = str(path[0])
        if name not in columns:
            yield Problem(path, f"`{name}` is not under columns{suggestion(name, columns)}")
        elif key == "time" and columns[name].kind not in _TIME_KINDS:
            yield Problem(
                path,
                f"`{name}` is declared {columns[name].kind}; a time column is "
                f"{' or '.join(_TIME_KINDS)}, so that rows have an order in time",
            )
        if name in taken:
            yield Problem(path, f"`{name}` already stands under {taken[name]}")
        taken[name] = key
    for position, name in enumerate(document.exclude):
        if name in columns:
            yield Problem(
                ("exclude", position), f"`{name}` stands under columns as well; keep one of them"
            )
        if name in document.exclude[:position]:
            yield Problem(("exclude", position), f"`{name}` stands here twice")


def _expectations(document: PipelineDocument) -> Iterator[Problem]:
    for position, item in enumerate(document.validation.expectations):
        path = ("validation", "expectations", position)
        types = [key for key in item if key != "severity"]
        if len(types) != 1 or not types[0].startswith("expect_"):
            found = f", found {', '.join(types)}" if types else ""
            yield Problem(path, f"expected one `expect_…: {{arguments}}`{found}")
            continue
        if item.get("severity", "critical") not in _SEVERITIES:
            near = suggestion(str(item["severity"]), _SEVERITIES)
            yield Problem((*path, "severity"), f"expected one of {', '.join(_SEVERITIES)}{near}")
        arguments = item[types[0]]
        if arguments is not None and not isinstance(arguments, dict):
            yield Problem((*path, types[0]), "expected a mapping of arguments")
            continue
        yield from _arguments((*path, types[0]), arguments or {}, document.columns)


def _arguments(
    path: tuple[int | str, ...], arguments: dict[str, Any], columns: Collection[str]
) -> Iterator[Problem]:
    for key in _COLUMN_ARGUMENTS:
        name = arguments.get(key)
        if key in arguments and name not in columns:
            near = suggestion(str(name), columns)
            yield Problem((*path, key), f"`{name}` is not under columns{near}")


def cron_problem(expression: str) -> str | None:
    """Return what is wrong with a cron expression of five fields, or None.

    >>> cron_problem("0 3 * * mon-fri")
    >>> cron_problem("0 25 * * *")
    "the hour '25' of the cron expression is not between 0 and 23"
    """
    fields = expression.split()
    if len(fields) != len(_CRON):
        return (
            f"expected a cron expression of five fields (minute hour day month weekday), "
            f"found {expression!r}"
        )
    for text, (name, low, high, names) in zip(fields, _CRON, strict=True):
        for part in text.split(","):
            match = _PART.fullmatch(part)
            if match is None:
                return f"the {name} {part!r} of the cron expression cannot be read"
            _, first, last, step = match.groups()
            bounds = [_cron_number(end, low, names) for end in (first, last) if end]
            if any(number is None or not low <= number <= high for number in bounds):
                return f"the {name} {part!r} of the cron expression is not between {low} and {high}"
            if len(bounds) == 2 and (bounds[0] or 0) > (bounds[1] or 0):
                return f"the {name} {part!r} of the cron expression runs backwards"
            if step and int(step) == 0:
                return f"the {name} {part!r} of the cron expression has a step of 0"
    return None


def _cron_number(text: str, low: int, names: tuple[str, ...]) -> int | None:
    if text.isascii() and text.isdigit():
        return int(text)
    return names.index(text.lower()) + low if text.lower() in names else None
