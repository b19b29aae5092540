"""A model in the ring, with what the gates need to know about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Kernels
from pynomaly.application.scoring_rows import score_table
from pynomaly.domain.decision import decide
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import DecisionPolicy

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Contender"]


@dataclass(frozen=True, slots=True)
class Contender:
    """A model that can score.

    Args:
        model: Loaded and verified.
        kernels: Score it.
    """

    model: Model
    kernels: Kernels

    def score(self, table: pa.Table) -> NDArray[np.float64]:
        """Return (n,) scores of conformed rows."""
        return score_table(self.model, table, self.kernels)

    def alerts(self, policy: DecisionPolicy, scores: NDArray[np.float64]) -> int:
        """Return how many of ``scores`` the policy would flag if they were a batch.

        Raises:
            ConfigurationError: Too few calibration rows for the policy ``fdr``.
        """
        return int(decide(policy, scores, self.model.calibration).sum())
