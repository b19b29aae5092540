"""A profile as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pynomaly.presentation.cli.render.base import number, share, share_range, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pynomaly.domain.profiles import ColumnProfile, Profile

__all__ = ["profile_lines"]


def profile_lines(profile: Profile, title: str) -> Iterator[RenderableType]:
    """Yield one row per column, and what concerns the whole."""
    yield table(
        title,
        ["column", "kind", "role", "#missing", "#distinct", "typical", "remark"],
        [
            (
                column.name,
                column.kind,
                column.role,
                share(column.nulls),
                number(column.distinct),
                _typical(column),
                "; ".join(filter(None, (column.reason, *column.notes))),
            )
            for column in profile.columns
        ],
    )
    sampled = ""
    if profile.sampled_rows < profile.rows:
        sampled = f"; statistics from {number(profile.sampled_rows)} drawn uniformly"
    yield f"{number(profile.rows)} rows{sampled}, {number(profile.duplicate_rows)} duplicates"
    low, high = profile.contamination
    yield (
        f"far out in some column: {share_range(low, high)} of rows; long tails count, so "
        "anomalies may be fewer"
    )


def _typical(column: ColumnProfile) -> str:
    if column.kind == "numeric" and column.quantiles:
        low, high = column.quantiles[0][1], column.quantiles[-1][1]
        middle = min(column.quantiles, key=lambda point: abs(point[0] - 0.5))[1]
        return f"{number(low)} … {number(middle)} … {number(high)}"
    if column.kind in ("categorical", "boolean"):
        return ", ".join(value for value, _ in column.top_values[:3])
    return ""
