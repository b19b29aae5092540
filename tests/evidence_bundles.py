"""A small bundle of evidence that is complete: a model folder, golden rows, chain and signature."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pynomaly.adapters import (
    detector_fitter,
    detector_kernels,
    evidence_verification,
    model_folders,
)
from pynomaly.application.scoring_rows import score_members
from pynomaly.domain.evidence import CHAIN, SIGNATURE, SUBJECT, Signature, Subject, chain_of
from pynomaly.infrastructure.evidence import Ed25519Signer, ZipBundles
from pynomaly.testing.model_folders import model_of, with_expected_scores

Parts = list[tuple[str, bytes]]

KERNELS = detector_kernels()
VERIFY = evidence_verification()
BUNDLES = ZipBundles()


def parts_of(folder: Path) -> Parts:
    """Return the parts of a bundle about a model of two columns, chain and signature excepted."""
    X = np.random.default_rng(0).normal(size=(40, 2))
    member = detector_fitter(KERNELS).fit("pca", {}, X, seed=0)
    model = model_of((member,), X, member.detector, 0)
    golden = with_expected_scores(X[:8], score_members((member,), X[:8], KERNELS))
    digest = model_folders().save(model, golden, folder)
    subject = Subject("check", 3, digest, "0" * 64, ("a fact that nobody kept",))
    return [
        (SUBJECT, subject.document),
        ("training/trials.json", b'{"trials": []}\n'),
        *((f"model/{path.name}", path.read_bytes()) for path in sorted(folder.iterdir())),
        ("releases/r1.json", b'{"verdict": "pass"}\n'),
    ]


def sealed(parts: Parts, signer: Ed25519Signer) -> Parts:
    """Return parts with chain and signature."""
    chain = chain_of(parts)
    signature = Signature(signer.public_key().hex(), signer.sign(chain.message).hex())
    return [*parts, (CHAIN, chain.document), (SIGNATURE, signature.document)]
