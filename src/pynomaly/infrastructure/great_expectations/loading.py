"""Importing Great Expectations without its side effects."""

from __future__ import annotations

import functools
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

__all__ = ["load"]

_CLOUDS = ("boto3", "botocore", "google.auth", "google.oauth2")


@functools.cache
def load() -> ModuleType:
    """Import ``great_expectations`` quietly, with its usage tracking off."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    show = warnings.showwarning
    with warnings.catch_warnings(), _absent(_CLOUDS):
        # It imports the deprecated sre_constants.
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations

        if warnings.showwarning is not show:
            logging.captureWarnings(False)  # one of its modules redirects everybody's warnings
    return great_expectations


@contextmanager
def _absent(names: tuple[str, ...]) -> Iterator[None]:
    """Let modules that are not loaded appear as not installed.

    Great Expectations imports whatever cloud client it finds, for sources of its own that nobody
    uses here: 17 MiB.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules |= dict.fromkeys(hidden)  # type: ignore[arg-type]  # None: import fails
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
