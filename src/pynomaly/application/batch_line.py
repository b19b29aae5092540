"""Where a decision policy cuts a batch that is read partition by partition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Kernels
from pynomaly.application.ports.partitions import PartitionReader
from pynomaly.application.refused_rows import refused_within
from pynomaly.application.score_partition import PartitionWork, conformed_rows
from pynomaly.application.scoring_rows import score_table
from pynomaly.domain.decision import Line, draw_line
from pynomaly.domain.ledger import Partition

__all__ = ["draw_batch_line"]


def draw_batch_line(
    work: PartitionWork,
    partitions: Sequence[Partition],
    refused: Mapping[str, NDArray[np.int64]],
    reader: PartitionReader,
    kernels: Kernels,
) -> tuple[Line, dict[int, int]]:
    """Return where the policy cuts, and where each partition begins if that matters.

    A policy that looks at the whole batch has every row scored beforehand.

    Args:
        work: Its line does not count.
        partitions: The batch, in order.
        refused: Numbers of refused rows by file name.
        reader: Reads partitions.
        kernels: Score.

    Returns:
        The line, and by position in ``partitions`` how many accepted rows come before.
    """
    policy, calibration = work.pipeline.decision, work.model.calibration
    if not policy.looks_at_whole_batch:
        return draw_line(policy, calibration, ()), {}
    firsts: dict[int, int] = {}

    def scores() -> Iterator[NDArray[np.float64]]:
        first = 0
        for position, partition in enumerate(partitions):
            firsts[position] = first
            rows = refused_within(refused, partition)
            for _, accepted, _ in conformed_rows(reader, work, partition, rows):
                first += len(accepted)
                yield score_table(work.model, accepted, kernels)

    return draw_line(policy, calibration, scores()), firsts
