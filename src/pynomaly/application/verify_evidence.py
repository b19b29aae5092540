"""Check a bundle of evidence by itself: no database, no registry, no network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pynomaly.application.ports.evidence import Bundles, Signatures
from pynomaly.application.ports.learning import Kernels, ModelStore
from pynomaly.application.scoring_rows import score_table
from pynomaly.domain.datasets import EXPECTED_SCORE
from pynomaly.domain.detectors import detector
from pynomaly.domain.errors import DataRejectedError, IntegrityError
from pynomaly.domain.evidence import (
    CHAIN,
    SIGNATURE,
    SUBJECT,
    Chain,
    Signature,
    Subject,
    key_fingerprint,
    read_chain,
    read_signature,
    read_subject,
)

__all__ = ["Verified", "VerifyEvidence"]

TOLERANCE = 1e-9
"""Largest deviation of a golden row's score, the platform's bound between machines."""

_MODEL = "model/"
_HINT = "do not rely on this bundle; ask for the original, and find out who changed it"


@dataclass(frozen=True, slots=True)
class Verified:
    """What a bundle was found to be; it is intact, or there would be an error.

    Args:
        path: The file.
        pipeline: Registered model name.
        version: Of the model.
        manifest_digest: Of the model folder in the bundle.
        training_fingerprint: Content digest of the training snapshot.
        parts: How many.
        head: Of the chain.
        key_fingerprint: Of the key that signed it.
        pinned: Whether that key was asked for.  If not, it is merely the one that came with the
            bundle, which anybody can put there.
        golden_rows: Scored anew; None where the model's detector is uncertified and was not run.
        golden_deviation: Largest difference from the score at training time.
        not_recorded: Facts that the bundle does not hold because nobody kept them.
    """

    path: str
    pipeline: str
    version: int
    manifest_digest: str
    training_fingerprint: str
    parts: int
    head: str
    key_fingerprint: str
    pinned: bool
    golden_rows: int | None
    golden_deviation: float | None
    not_recorded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerifyEvidence:
    """Check every byte, the signature, and that the model does what it did.

    Args:
        bundles: Read the file.
        signatures: Check who signed.
        store: Reads the model folder.
        kernels: Score its golden rows.
    """

    bundles: Bundles
    signatures: Signatures
    store: ModelStore
    kernels: Kernels

    def __call__(self, path: Path, key: str | None = None) -> Verified:
        """Verify a bundle.

        Args:
            path: The file.
            key: The public key that must have signed it: a PEM file or a fingerprint; the one in
                the bundle where None.

        Raises:
            UsageError: ``key`` is neither.
            SourceNotFoundError: There is no such file.
            IntegrityError: Anything differs; the message names the part.
        """
        pinned = self.signatures.fingerprint(key) if key is not None else None
        parts = dict(self.bundles.read(path))
        chain = read_chain(_part(parts, CHAIN))
        signature = read_signature(_part(parts, SIGNATURE))
        _compare(list(parts), chain, parts)
        self._check_signature(chain, signature, pinned)
        subject = read_subject(_part(parts, SUBJECT))
        golden = self._check_model(subject, parts)
        return Verified(
            path=str(path),
            pipeline=subject.pipeline,
            version=subject.version,
            manifest_digest=subject.manifest_digest,
            training_fingerprint=subject.training_fingerprint,
            parts=len(chain.links),
            head=chain.head,
            key_fingerprint=key_fingerprint(bytes.fromhex(signature.public_key)),
            pinned=pinned is not None,
            golden_rows=golden[0] if golden else None,
            golden_deviation=golden[1] if golden else None,
            not_recorded=subject.not_recorded,
        )

    def _check_signature(self, chain: Chain, signature: Signature, pinned: str | None) -> None:
        key = bytes.fromhex(signature.public_key)
        found = key_fingerprint(key)
        if pinned is not None and pinned != found:
            raise _damaged(SIGNATURE, f"signed with the key {found}, not with {pinned}")
        if not self.signatures.holds(key, chain.message, bytes.fromhex(signature.signature)):
            raise _damaged(
                SIGNATURE,
                f"the signature does not fit the head of {CHAIN}: one of the two was changed",
            )

    def _check_model(
        self, subject: Subject, parts: Mapping[str, bytes]
    ) -> tuple[int, float] | None:
        """Read the model folder like any other and score its golden rows.

        Returns:
            How many, and the largest deviation; None where they were not scored.
        """
        with TemporaryDirectory(prefix="pynomaly-evidence-") as work:
            folder = Path(work)
            for name, content in parts.items():
                file = name.removeprefix(_MODEL)
                if name.startswith(_MODEL) and "/" not in file:
                    (folder / file).write_bytes(content)
            try:
                model = self.store.load(folder, subject.manifest_digest)
                golden = self.store.golden(folder, subject.manifest_digest)
            except IntegrityError as error:
                message = error.message.replace(f"{folder}/", _MODEL).replace(work, "model")
                raise IntegrityError(message, hint=error.hint) from error
        told = (model.card.pipeline, model.card.training_fingerprint)
        if told != (subject.pipeline, subject.training_fingerprint):
            raise _damaged(
                f"{_MODEL}model.json",
                f"is of pipeline '{told[0]}', trained on {told[1]}; {SUBJECT} says otherwise",
            )
        if not all(detector(member.detector).certified for member in model.members):
            return None
        try:
            scores = score_table(model, golden, self.kernels)
        except (DataRejectedError, KeyError, ValueError) as error:
            raise _damaged(f"{_MODEL}golden.parquet", f"cannot be scored: {error}") from error
        expected = golden.column(EXPECTED_SCORE).to_numpy()
        worst = float(np.abs(scores - expected).max(initial=0.0))
        if not worst <= TOLERANCE:
            raise _damaged(
                f"{_MODEL}golden.parquet",
                f"scored here, golden rows differ by up to {worst:.1e} from their scores at "
                f"training time; {TOLERANCE:.0e} is allowed",
            )
        return len(golden), worst


def _part(parts: Mapping[str, bytes], name: str) -> bytes:
    if name not in parts:
        raise _damaged(name, "is missing")
    return parts[name]


def _compare(order: list[str], chain: Chain, parts: Mapping[str, bytes]) -> None:
    """Refuse parts that are not, in content and order, those of the chain."""
    expected = [*(link.name for link in chain.links), CHAIN, SIGNATURE]
    for link in chain.links:
        if link.name not in parts:
            raise _damaged(link.name, f"is missing; {CHAIN} lists it")
        content = parts[link.name]
        digest = hashlib.sha256(content).hexdigest()
        if (len(content), digest) != (link.size, link.sha256):
            raise _damaged(
                link.name,
                f"has sha256 {digest} and {len(content):,} bytes; {CHAIN} says {link.sha256} and "
                f"{link.size:,}",
            )
    for name in order:
        if name not in expected:
            raise _damaged(name, f"was added; {CHAIN} does not list it")
    for found, wanted in zip(order, expected, strict=True):
        if found != wanted:
            raise _damaged(found, f"stands where {wanted} belongs")


def _damaged(name: str, problem: str) -> IntegrityError:
    return IntegrityError(f"{name}: {problem}", hint=_HINT)
