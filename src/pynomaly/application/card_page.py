"""A page of recorded facts, as reports render it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CardPage", "Section", "Table"]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people.

    Args:
        columns: Headings.
        rows: Cells of any plain type.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the card.

    Args:
        title: Heading.
        sentences: Paragraphs.
        facts: Name and value.
        table: Under them.
    """

    title: str
    sentences: tuple[str, ...] = ()
    facts: tuple[tuple[str, object], ...] = ()
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class CardPage:
    """A model card.

    Args:
        title: Heading.
        sentence: What stands below it.
        sections: In order.
    """

    title: str
    sentence: str
    sections: tuple[Section, ...]
