"""How values look to people: numbers, shares, times, sizes and lists of facts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pynomaly.domain.scores import Reason

__all__ = [
    "cell",
    "duration",
    "expectation",
    "number",
    "quantile",
    "reason",
    "share",
    "size",
    "tone",
    "utc",
    "words",
]

NOTHING = "–"

_TONES = {
    "good": {"pass", "passed", "production", "completed", "ok"},
    "warn": {
        "review", "inconclusive", "passed_with_quarantine", "candidate", "running", "superseded",
        "warning", "watch", "suspended", "pending_approval", "staging", "canary",
    },
    "bad": {"block", "blocked", "rejected", "failed", "rolled_back", "aborted", "drift"},
}  # fmt: skip


def tone(verdict: str) -> str:
    """Return ``good``, ``warn`` or ``bad`` for any verdict, state or status of the platform.

    >>> tone("inconclusive")
    'warn'
    """
    return next(name for name, verdicts in _TONES.items() if verdict in verdicts)


def words(name: str) -> str:
    """Return an identifier as words.

    >>> words("injected_recall")
    'injected recall'
    """
    return name.replace("_", " ").strip()


def expectation(name: str) -> str:
    """Return an expectation's name as words.

    >>> expectation("expect_column_values_to_not_be_null")
    'values to not be null'
    """
    return words(name.removeprefix("expect_").removeprefix("column_").removeprefix("table_"))


def number(value: float | None) -> str:
    """Return a number with at most four significant digits, whole ones in full.

    >>> number(12345), number(0.123456), number(1.5e-12), number(12345.678), number(None)
    ('12,345', '0.1235', '1.5e-12', '12,346', '–')
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e15 else f"{value:.4g}"


def share(value: float | None) -> str:
    """Return a share as percent; what is not nothing, or not all, never reads as it.

    >>> share(0.0512), share(0.0), share(0.00001), share(0.99999), share(1.0)
    ('5.12 %', '0 %', '<0.01 %', '>99.99 %', '100 %')
    """
    if value is None:
        return NOTHING
    if 0 < value < 0.0001:
        return "<0.01 %"
    if 0.9999 < value < 1:
        return ">99.99 %"
    percent = f"{value:.2%}".removesuffix("%")
    return (percent.rstrip("0").rstrip(".") if "." in percent else percent) + " %"


def size(octets: int) -> str:
    """Return a size in bytes with a binary unit.

    >>> size(512), size(1536)
    ('512 B', '1.5 KiB')
    """
    value = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def duration(value: timedelta | None) -> str:
    """Return how long something took.

    >>> duration(timedelta(seconds=0.042)), duration(timedelta(seconds=75))
    ('0.04 s', '1 min 15 s')
    """
    if value is None:
        return NOTHING
    seconds = value.total_seconds()
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def utc(moment: datetime | None) -> str:
    """Return a moment to the second, in UTC."""
    if moment is None:
        return NOTHING
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def quantile(value: float, kind: str) -> str:
    """Return a quantile of a column; of times, which are epoch seconds, as a date.

    >>> quantile(0.0, "datetime"), quantile(2.5, "numeric")
    ('1970-01-01 00:00', '2.5')
    """
    if kind != "datetime":
        return number(value)
    # Not fromtimestamp: it refuses dates that a source may well hold.
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
    except OverflowError:
        return f"{number(value)} s"
    return moment.strftime("%Y-%m-%d %H:%M")


def reason(found: Mapping[str, Any]) -> str:
    """Return a reason of a scored row as a sentence."""
    return Reason(**found).sentence


def cell(value: object) -> str:
    """Return any small JSON-able value as one line.

    >>> cell({"rows": 1200, "shares": [0.5, None]})
    'rows 1,200, shares 0.5 –'
    """
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{words(str(key))} {cell(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return " ".join(cell(item) for item in value)
    return str(value)
