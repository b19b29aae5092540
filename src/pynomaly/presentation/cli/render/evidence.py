"""Evidence, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pynomaly.presentation.cli.render.base import clean, number

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["exported_lines", "key_lines", "replayed_lines", "verified_lines"]

Facts = Mapping[str, Any]


def exported_lines(document: Facts) -> Iterator[RenderableType]:
    """Yield what was written, and what it lacks."""
    yield (
        f"evidence of {clean(document['pipeline'])} version {document['version']}: "
        f"{len(document['parts'])} parts, {number(document['size_bytes'])} bytes"
    )
    yield f"  written to {clean(document['path'])}"
    yield f"  head       {document['head']}"
    yield f"  signed by  {document['key_fingerprint']}"
    yield from _missing(document)
    yield "\nWhoever receives it needs the public key from you: pynomaly evidence key > FILE"


def verified_lines(document: Facts) -> Iterator[RenderableType]:
    """Yield what a bundle was found to be, and how far that can be trusted."""
    yield (
        f"intact: {clean(document['pipeline'])} version {document['version']}, "
        f"{number(document['parts'])} parts"
    )
    yield f"  manifest   {document['manifest_digest']}"
    yield f"  head       {document['head']}"
    if document["golden_rows"] is None:
        yield "  golden     not scored: the detector is uncertified"
    else:
        yield (
            f"  golden     {number(document['golden_rows'])} rows scored here differ by at most "
            f"{document['golden_deviation']:.1e}"
        )
    yield f"  signed by  {document['key_fingerprint']}"
    yield from _missing(document)
    if document["pinned"]:
        yield "\nThe key is the one you gave."
    else:
        yield (
            "\nThe key is the one in the bundle, which anybody could have put there. Compare the "
            "fingerprint with its owner's, or give the key: --key FILE"
        )


def key_lines(document: Facts) -> Iterator[RenderableType]:
    """Yield a public key and its fingerprint."""
    yield document["public_key"].rstrip()
    yield document["key_fingerprint"]  # readers of PEM ignore what follows the key


def replayed_lines(batches: Sequence[Facts]) -> Iterator[RenderableType]:
    """Yield what came out again, batch by batch."""
    for found in batches:
        yield (
            f"{number(found['rows'])} rows in {number(found['partitions'])} "
            f"partition{'s' * (found['partitions'] != 1)} scored again: every score, decision and "
            "reason as it was"
        )
        yield f"  data       {clean(found['source'])}"
        yield f"  content    {found['fingerprint']}"
        yield (
            f"  model      {clean(found['pipeline'])} version {found['model_version']}, manifest "
            f"{found['manifest_digest'][:12]}"
        )
        yield f"  policy     {found['policy_version']}, from {found['policy_from']}"
        yield f"  flagged    {number(found['rows_flagged'])}"


def _missing(document: Facts) -> Iterator[str]:
    for what in document["not_recorded"]:
        yield f"  not recorded: {clean(what)}"
