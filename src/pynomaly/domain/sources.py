"""Where rows come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pynomaly.domain.errors import ConfigurationError

__all__ = ["SourceFormat", "SourceSpec"]

SourceFormat = Literal["csv", "parquet", "jsonl", "excel", "sql"]

_TABLE = r"[^#@/\s;()]+"
_SQLITE_TABLE = r"((main|temp)\.)?[^#@/\s;().?]+"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Where rows come from.

    Args:
        uri: A file, folder or glob, ``s3://bucket/prefix``, or a SQLAlchemy URL.
        format: Told by the file name when None.
        delimiter: Of CSV; detected when None.
        encoding: Of CSV and JSON lines; detected when None.
        query: A table name or SELECT statement; only for SQL.
        watermark: Column that grows with every new row; only for SQL.
    """

    uri: str
    format: SourceFormat | None = None
    delimiter: str | None = None
    encoding: str | None = None
    query: str | None = None
    watermark: str | None = None

    @classmethod
    def named(cls, uri: str, query: str | None = None) -> SourceSpec:
        """Return what somebody names: an address, ``URL#table``, or an address and a query.

        Raises:
            ConfigurationError: A table and a query.
        """
        found = cls("").at(uri)
        if query is None:
            return found
        if found.query is not None:
            raise ConfigurationError(
                f"the source names the table '{found.query}' and has a query beside it",
                hint="name a table or give a query, not both",
            )
        return cls(uri, query=query)

    def at(self, uri: str) -> SourceSpec:
        """Return the same source at another place: what was declared about its text stays.

        The format is told by the new name.  A database may name its table, ``URL#table``; otherwise
        the query stays.

        >>> moved = SourceSpec("old.csv", format="csv", delimiter=";").at("new.parquet")
        >>> moved == SourceSpec("new.parquet", delimiter=";")
        True
        >>> SourceSpec("old.csv").at("sqlite:///shop.db#payments").query
        'payments'
        >>> SourceSpec("old.csv").at("sqlite:///a#b.db").query is None
        True
        >>> SourceSpec("old.csv").at("sqlite:///a#1.db?timeout=5").query is None
        True
        >>> SourceSpec("old.csv").at("postgresql://u:p#w@host/shop#sales.pay-2024").query
        'sales.pay-2024'
        """
        database = "://" in uri and not uri.startswith("s3://")
        # Not every # is followed by a table: passwords and SQLite's file names may hold one.
        table = _SQLITE_TABLE if uri.startswith("sqlite") else _TABLE
        named = re.fullmatch(rf"(.+)#({table})", uri) if database else None
        return SourceSpec(
            named[1] if named else uri,
            delimiter=self.delimiter,
            encoding=self.encoding,
            query=(named[2] if named else self.query) if database else None,
            watermark=self.watermark if database else None,
        )
