"""Models as folders of plain data: JSON, arrays, golden rows and a manifest."""

from __future__ import annotations

from pynomaly.infrastructure.modelfolder.store import FolderModelStore

__all__ = ["FolderModelStore"]
