"""Stored parts that nothing refers to."""

from __future__ import annotations

from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartStore

__all__ = ["orphans"]


def orphans(ledger: Ledger, store: PartStore, target: str) -> tuple[str, ...]:
    """Return what a place holds of parts that nobody committed and nobody is writing.

    Places may lie in one another (``out`` and ``out/date=2026-11-26``), and several pipelines may
    write to each: what any of them committed, to this place or to one below or above, is no orphan.

    Args:
        ledger: Knows what was committed, and who is at work.
        store: Lists the place.
        target: As the ledger spells it.
    """
    # Listed first: what is committed while we look is then no orphan.
    stored = [part.uri for part in store.stored(target)]
    entries = [one for name in ledger.pipelines(target) for one in ledger.entries(name)]
    known = {part.uri for one in entries if one.outcome for part in one.outcome.parts}
    busy = [f"{one.key[:32]}-{one.fence}" for one in entries if one.state == "leased"]
    return tuple(
        uri for uri in stored if uri not in known and not any(name in uri for name in busy)
    )
