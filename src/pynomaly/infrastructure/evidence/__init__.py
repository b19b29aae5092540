"""Evidence bundles as zip files with Ed25519 signatures."""

from __future__ import annotations

from pynomaly.infrastructure.evidence.archive import ZipBundles
from pynomaly.infrastructure.evidence.signing import Ed25519Signatures, Ed25519Signer

__all__ = ["Ed25519Signatures", "Ed25519Signer", "ZipBundles"]
