"""Checking data against expectations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.quality import ExpectationResult, RowFailure

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DataValidator", "ValidationSession"]


class ValidationSession(Protocol):
    """Validation of one snapshot, chunk by chunk, with the verdict of the whole."""

    def check_columns(self, columns: Sequence[tuple[str, str]]) -> tuple[ExpectationResult, ...]:
        """Compare the source's columns (name, physical type) with the schema.

        A missing column is critical; extra and reordered columns and other physical types are
        warnings (values that cannot be read as declared fail row by row when conforming).
        """

    def check_rows(
        self, chunk: pa.Table, unreadable: Sequence[RowFailure] = ()
    ) -> tuple[RowFailure, ...]:
        """Check a conformed chunk (ids, ``row_id``, typed schema columns).

        Args:
            chunk: Rows in the order of the source.
            unreadable: What conforming refused: null in the chunk, but nothing that is missing.

        Returns:
            Failures of severity ``row``, several per row possible.  Outcomes of all expectations
            that can be judged row by row are accumulated for :meth:`finish`.
        """

    def finish(self, read: Callable[[list[str]], pa.Table]) -> tuple[ExpectationResult, ...]:
        """Judge the whole snapshot.

        Args:
            read: Returns named columns of all conformed rows, for expectations about a column as
                a whole (mean, quantiles, newest value…) so that chunking never changes a verdict.
        """


class DataValidator(Protocol):
    """Starts validations."""

    def session(self, pipeline: Pipeline) -> ValidationSession:
        """Prepare the pipeline's schema, expectations, volume and freshness checks.

        Raises:
            ConfigurationError: An expectation is unknown or its arguments are wrong.
        """
