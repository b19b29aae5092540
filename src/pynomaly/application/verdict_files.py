"""Verdicts that somebody wrote into a table: ids, ``verdict``, and perhaps ``reason``, ``source``.

Rows of a pipeline without id columns stand in a column ``row``: ``row_id`` is a name that no source
may use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pynomaly.application.cells import plain, read_texts
from pynomaly.application.ports.data import Source
from pynomaly.application.record_verdicts import Statement
from pynomaly.domain.errors import MalformedSourceError
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.verdicts import Said

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["statements_in"]

_SAID: tuple[Said, ...] = ("anomaly", "normal")


def statements_in(source: Source, pipeline: Pipeline) -> tuple[Statement, ...]:
    """Return what a table says about rows.

    Rows without a verdict are left out: nobody has looked at them yet.

    Args:
        source: Opened; has the pipeline's id columns, or ``row``, and ``verdict``, perhaps
            ``reason`` and ``source``.
        pipeline: Names the keys.

    Raises:
        MalformedSourceError: A column is missing, or a row says something else.
    """
    names = [name for name, _ in source.columns]
    calling = pipeline.id_columns or ("row",)
    wanted = (*calling, "verdict")
    missing = [name for name in wanted if name not in names]
    if missing:
        raise MalformedSourceError(
            f"the verdicts have no column '{missing[0]}'",
            hint=f"expected are {', '.join(wanted)}, and if you like reason and source; "
            f"it has {', '.join(names[:20])}",
        )
    found: list[Statement] = []
    for batch in source.batches():
        if batch.malformed:
            line = batch.malformed[0]
            raise MalformedSourceError(f"line {line.line}: {line.reason}")
        keys = zip(*(_texts(batch.table, name) for name in calling), strict=True)
        said, reasons, sources = (
            _texts(batch.table, name) for name in ("verdict", "reason", "source")
        )
        for ids, what, reason, place in zip(keys, said, reasons, sources, strict=True):
            if what is None:
                continue
            verdict = next((one for one in _SAID if one == what.strip().lower()), None)
            if verdict is None or None in ids:
                raise MalformedSourceError(
                    f"the row {', '.join(map(str, ids))} says {what!r}",
                    hint=f"expected are ids and one of {', '.join(_SAID)}, or no verdict",
                )
            found.append(Statement(tuple(map(str, ids)), verdict, reason or "", place))
    return tuple(found)


def _texts(table: pa.Table, name: str) -> list[str | None]:
    if name not in table.column_names:
        return [None] * len(table)
    texts: list[str | None] = read_texts(plain(table.column(name))).values.to_pylist()
    return texts
