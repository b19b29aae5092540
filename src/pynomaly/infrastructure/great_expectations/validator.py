"""The Great Expectations adapter of :class:`~pynomaly.application.ports.quality.DataValidator`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pynomaly.application.ports.quality import ValidationSession
    from pynomaly.domain.pipelines import Pipeline

__all__ = ["GreatExpectationsValidator"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class GreatExpectationsValidator:
    """Starts validations; Great Expectations is imported by the first one.

    Args:
        now: Clock for freshness, in UTC.
    """

    now: Callable[[], datetime] = _utc_now

    def session(self, pipeline: Pipeline) -> ValidationSession:
        """Prepare the pipeline's schema, expectations, volume and freshness checks.

        Raises:
            ConfigurationError: An expectation is unknown or its arguments are wrong.
        """
        from pynomaly.infrastructure.great_expectations.session import GreatExpectationsSession

        return GreatExpectationsSession(pipeline, self.now)
