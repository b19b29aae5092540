"""Importing Great Expectations without its side effects."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

__all__ = ["load"]

_CLOUDS = ("boto3", "botocore", "google.auth", "google.oauth2")
_SELDOM = ("altair", "scipy.stats")


@functools.cache
def load() -> ModuleType:
    """Import ``great_expectations`` quietly, with its usage tracking off."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    show = warnings.showwarning
    with warnings.catch_warnings(), _absent(_CLOUDS), _later(_SELDOM):
        # It imports the deprecated sre_constants.
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations

        if warnings.showwarning is not show:
            logging.captureWarnings(False)  # one of its modules redirects everybody's warnings
    return great_expectations


class _Absence:
    """Says that modules are not installed, to the thread that made it alone."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in self._names and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextmanager
def _absent(names: tuple[str, ...]) -> Iterator[None]:
    """Let modules that are not loaded appear as not installed.

    Great Expectations imports whatever cloud client it finds, for sources of its own that nobody
    uses here: 17 MiB.
    """
    finder = _Absence(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Later(ModuleType):
    """Stands for a module, which is imported when something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _later(names: tuple[str, ...]) -> Iterator[None]:
    """Let whoever imports modules meanwhile import them at their first use.

    Of its many expectations a few draw charts or test distributions: 80 MiB, if imported for all.
    """
    standing = {name: _Later(name) for name in names if name not in sys.modules}
    sys.modules |= standing
    try:
        yield
    finally:
        for name, module in standing.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
