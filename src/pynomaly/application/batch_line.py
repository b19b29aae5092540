"""Where a decision policy cuts a batch that is read partition by partition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.contest import reason
from pynomaly.application.ports.learning import Kernels
from pynomaly.application.ports.partitions import PartitionReader
from pynomaly.application.refused_rows import refused_within
from pynomaly.application.score_partition import PartitionWork, conformed_rows
from pynomaly.application.scoring_rows import score_table
from pynomaly.domain.decision import Line, draw_line
from pynomaly.domain.partitions import Partition

__all__ = ["draw_lines"]

if TYPE_CHECKING:
    import pyarrow as pa

Refused = Mapping[str, NDArray[np.int64]]


def draw_lines(
    work: PartitionWork,
    partitions: Sequence[Partition],
    refused: Refused,
    reader: PartitionReader,
    kernels: Kernels,
) -> tuple[PartitionWork, dict[int, int]]:
    """Return the work with the lines of champion and challenger, and where partitions begin.

    A policy that looks at the whole batch has every row scored beforehand.  A challenger that fails
    at that gets no line.

    Args:
        work: Its lines do not count.
        partitions: The batch, in order.
        refused: Numbers of refused rows by file name.
        reader: Reads partitions.
        kernels: Score.

    Returns:
        The work, and by position in ``partitions`` how many accepted rows come before, if that
        matters.
    """
    unread: list[Exception] = []
    line, firsts = _draw(work, partitions, refused, reader, kernels, unread)
    work = replace(work, line=line)
    if work.challenger is None:
        return work, firsts
    pipeline = replace(work.pipeline, decision=work.challenger.decision)
    contested = replace(work, pipeline=pipeline, model=work.challenger.model)
    try:
        its_line, its_firsts = _draw(contested, partitions, refused, reader, kernels, unread)
    except Exception as error:  # whatever it is, it must not reach who asked for scores
        if unread:
            raise
        failed = replace(work.challenger, line=None, failure=reason(error))
        return replace(work, challenger=failed), firsts
    return replace(work, challenger=replace(work.challenger, line=its_line)), firsts or its_firsts


def _draw(
    work: PartitionWork,
    partitions: Sequence[Partition],
    refused: Refused,
    reader: PartitionReader,
    kernels: Kernels,
    unread: list[Exception],
) -> tuple[Line, dict[int, int]]:
    """Return a line and where partitions begin; faults of the input are noted in ``unread``."""
    policy, calibration = work.pipeline.decision, work.model.calibration
    if not policy.looks_at_whole_batch:
        return draw_line(policy, calibration, ()), {}
    firsts: dict[int, int] = {}

    def read(partition: Partition, rows: NDArray[np.int64]) -> Iterator[pa.Table]:
        try:
            for _, accepted, _ in conformed_rows(reader, work, partition, rows):
                yield accepted
        except Exception as error:
            unread.append(error)
            raise

    def scores() -> Iterator[NDArray[np.float64]]:
        first = 0
        for position, partition in enumerate(partitions):
            firsts[position] = first
            rows = refused_within(refused, partition)
            for accepted in read(partition, rows):
                first += len(accepted)
                yield score_table(work.model, accepted, kernels)

    return draw_line(policy, calibration, scores()), firsts
