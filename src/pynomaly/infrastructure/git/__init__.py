"""Git repositories that code and configuration live in."""

from __future__ import annotations

from pynomaly.infrastructure.git.revision import revision_of

__all__ = ["revision_of"]
