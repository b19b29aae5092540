"""Write everything on record about a model version into one signed bundle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pynomaly.application.collect_evidence import CollectEvidence, VersionFacts
from pynomaly.application.model_card import model_card
from pynomaly.application.ports.evidence import Bundles, Signer
from pynomaly.application.ports.reporting import Reports
from pynomaly.domain.evidence import (
    CHAIN,
    SIGNATURE,
    SUBJECT,
    Signature,
    Subject,
    canonical_json,
    chain_of,
    key_fingerprint,
)

__all__ = ["ExportEvidence", "Exported"]


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was written.

    Args:
        path: Where.
        pipeline: Registered model name.
        version: Of the model.
        head: Of the chain.
        key_fingerprint: Of the key that signed it.
        parts: Names, in the order of the chain.
        size_bytes: Of all parts.
        not_recorded: Facts that nobody kept, in words.
    """

    path: str
    pipeline: str
    version: int
    head: str
    key_fingerprint: str
    parts: tuple[str, ...]
    size_bytes: int
    not_recorded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExportEvidence:
    """Collect, chain, sign and write; equal records give equal bytes.

    Args:
        collect: Reads what is on record.
        reports: Render the pages.
        signer: Vouches for it.
        bundles: Write the file.
    """

    collect: CollectEvidence
    reports: Reports
    signer: Signer
    bundles: Bundles

    def __call__(
        self, pipeline: str, version: int | None, out: Path, *, overwrite: bool = False
    ) -> Exported:
        """Export.

        Args:
            pipeline: Which job.
            version: Of its model; the newest where None.
            out: The bundle.
            overwrite: Replace another file that is there.

        Raises:
            UsageError: There is no such version.
            OutputExistsError: Another file is there.
            IntegrityError: The registry's model or profile is not what our records say.
            ConfigurationError: The signing key cannot be used.
        """
        found = self.collect(pipeline, version)
        parts = list(self._parts(found))
        chain = chain_of(parts)
        key = self.signer.public_key()
        signature = Signature(key.hex(), self.signer.sign(chain.message).hex())
        sealed = [*parts, (CHAIN, chain.document), (SIGNATURE, signature.document)]
        self.bundles.write(sealed, out, overwrite=overwrite)
        return Exported(
            path=str(out),
            pipeline=found.version.pipeline,
            version=found.version.version,
            head=chain.head,
            key_fingerprint=key_fingerprint(key),
            parts=tuple(name for name, _ in parts),
            size_bytes=sum(len(content) for _, content in sealed),
            not_recorded=found.not_recorded,
        )

    def _parts(self, found: VersionFacts) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of every part, the subject first."""
        version, card, page = found.version, found.model.card, model_card(found)
        yield (
            SUBJECT,
            Subject(
                version.pipeline,
                version.version,
                version.manifest_digest,
                version.training_fingerprint,
                found.not_recorded,
            ).document,
        )
        yield "model-card.md", self.reports.model_card_markdown(page).encode()
        yield "model-card.html", self.reports.model_card_html(page).encode()
        yield "version.json", _document(version)
        if found.report is not None:
            yield "data/snapshot.json", _document(found.report.snapshot)
            yield "data/validation.json", _document(found.report)
            yield "data/validation.md", self.reports.validation_markdown(found.report).encode()
        if found.profile is not None:
            yield "data/profile.json", found.profile
        yield "training/configuration.json", _document(card.configuration)
        yield (
            "training/environment.json",
            _document(
                {
                    "seed": card.seed,
                    "libraries": card.library_versions,
                    "revision": card.revision,
                }
            ),
        )
        yield "training/trials.json", _document({"trials": card.trials})
        yield "training/run.json", _document({"run": found.run, "steps": found.steps})
        for release in found.releases:
            yield f"releases/{release.id}.json", _document(release)
            events = {"transitions": found.events_of(release)}
            yield f"releases/{release.id}-transitions.json", _document(events)
            yield f"releases/{release.id}.md", self.reports.gates_markdown(release).encode()
        for name, content in found.files.items():
            yield f"model/{name}", content


def _document(value: Any) -> bytes:
    return canonical_json(_plain(value))


def _plain(value: Any) -> Any:
    """Return what JSON can hold: moments in ISO 8601, numbers that are not finite as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(part) for part in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
