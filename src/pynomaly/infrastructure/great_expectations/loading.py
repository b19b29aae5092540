"""Importing Great Expectations without its side effects."""

from __future__ import annotations

import functools
import logging
import os
import warnings
from types import ModuleType

__all__ = ["load"]


@functools.cache
def load() -> ModuleType:
    """Import ``great_expectations`` quietly, with its usage tracking off."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    show = warnings.showwarning
    with warnings.catch_warnings():
        # It imports the deprecated sre_constants.
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations

        if warnings.showwarning is not show:
            logging.captureWarnings(False)  # one of its modules redirects everybody's warnings
    return great_expectations
