"""Running suites through checkpoints of one ephemeral Great Expectations context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.errors import ConfigurationError
from pynomaly.infrastructure.great_expectations.catalogue import Check
from pynomaly.infrastructure.great_expectations.loading import load

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Engine", "Outcome", "Suite"]

_QUESTION = "pynomaly_question"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one expectation found in one frame.

    Args:
        success: Great Expectations' verdict on this frame; of no meaning where ``mostly`` counts.
        considered: Values it judged; None if it judged the column or table as a whole.
        positions: Rows against it, ascending, even where ``mostly`` lets it pass.
        observed: What it observed of the column or table as a whole.
        details: Whatever else it says.
    """

    success: bool
    considered: int | None
    positions: NDArray[np.int64]
    observed: Any
    details: dict[str, Any]


class Engine:
    """An ephemeral context: nothing is written, nothing outlives the session."""

    def __init__(self) -> None:
        gx = load()
        self._gx = gx
        self._context = _context(gx)
        self._context.stores[self._context.validation_results_store_name] = _forgetful_store()
        self._source = self._context.data_sources.add_pandas("chunks")
        self._batch = self._source.add_dataframe_asset(
            "chunk"
        ).add_batch_definition_whole_dataframe("all")

    def suite(self, name: str, checks: Sequence[Check]) -> Suite:
        """Register a suite with its checkpoint.

        Checks that differ in ``mostly`` and severity only are run once: the caller judges shares
        on totals anyway, and Great Expectations takes some 15 ms for each on any frame.

        Args:
            name: Unique within this engine.
            checks: At least one.
        """
        expectations: dict[str, Any] = {}
        for check in checks:
            same = {key: value for key, value in check.spec.kwargs.items() if key != "mostly"}
            question = f"{check.spec.type} {sorted(same.items())}"
            check.gx.meta = {_QUESTION: question}
            expectations.setdefault(question, check.gx)
        context, gx = self._context, self._gx
        suite = context.suites.add(
            gx.ExpectationSuite(name=name, expectations=[*expectations.values()])
        )
        definition = context.validation_definitions.add(
            gx.ValidationDefinition(name=name, data=self._batch, suite=suite)
        )
        checkpoint = context.checkpoints.add(
            gx.Checkpoint(
                name=name,
                validation_definitions=[definition],
                actions=[],
                result_format={
                    "result_format": "COMPLETE",
                    "partial_unexpected_count": 5,
                    "return_unexpected_index_query": False,
                },
            )
        )
        return Suite(tuple(checks), checkpoint, self._source)


def _context(gx: ModuleType) -> Any:
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    # The default configuration would name a folder for HTML pages that nobody asked for.
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        progress_bars=ProgressBarsConfig(globally=False),
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _forgetful_store() -> Any:
    """Return a store for results that keeps none.

    The usual one writes every result as JSON, row numbers included, and keeps it: time and memory
    for nothing.  It also cannot write the result of expect_column_quantile_values_to_be_between.
    """
    from great_expectations.data_context.store.validation_results_store import (
        ValidationResultsStore,
    )

    class ForgetfulStore(ValidationResultsStore):
        def set(self, key: Any, value: Any, **kwargs: Any) -> None:
            """Keep nothing."""

    return ForgetfulStore()


@dataclass(frozen=True, slots=True)
class Suite:
    """A registered suite.

    Args:
        checks: In order.
        checkpoint: Validates a frame against them.
        source: What the frame is handed to.
    """

    checks: tuple[Check, ...]
    checkpoint: Any
    source: Any

    def run(self, frame: pd.DataFrame) -> tuple[Outcome, ...]:
        """Validate a frame with a row index from 0; outcomes are in the order of the checks.

        Raises:
            ConfigurationError: An expectation cannot be judged on the data it names.
        """
        result = self.checkpoint.run(batch_parameters={"dataframe": frame})
        self._release()
        (validation,) = result.run_results.values()
        # They come back in another order.
        found = {r.expectation_config.meta[_QUESTION]: r for r in validation.results}
        return tuple(_outcome(found[check.gx.meta[_QUESTION]], check) for check in self.checks)

    def _release(self) -> None:
        """Let the frame go, which would be kept until the next one comes."""
        frames = self.source.get_execution_engine().batch_manager
        frames.reset_batch_cache()
        frames.batch_data_cache.clear()


def _outcome(found: Any, check: Check) -> Outcome:
    problem = _raised(found.exception_info)
    if problem:
        about = f" on '{', '.join(check.columns)}'" if check.columns else ""
        raise ConfigurationError(
            f"{check.spec.type}{about} cannot be judged: {problem}",
            hint="do its arguments fit the kind of the column?",
        )
    result = dict(found.result)
    positions = np.sort(np.array(result.get("unexpected_index_list") or [], dtype=np.int64))
    considered = None
    if "element_count" in result:
        considered = int(result["element_count"]) - int(result.get("missing_count") or 0)
    return Outcome(
        bool(found.success),
        considered,
        positions,
        result.get("observed_value") or result.get("partial_unexpected_list"),
        dict(result.get("details") or {}),
    )


def _raised(info: Any) -> str | None:
    """Return the message of an exception Great Expectations caught, flat or by metric."""
    if not info:
        return None
    if "raised_exception" in info:
        return str(info["exception_message"]) if info["raised_exception"] else None
    for caught in info.values():
        if caught.get("raised_exception"):
            return str(caught["exception_message"])
    return None
