"""Held-out rows and their digest, which the model keeps: gates judge it by no others."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow as pa

from pynomaly.application.ports.data import DatasetStore
from pynomaly.domain.errors import IntegrityError

__all__ = ["digest_of_rows", "read_held_out"]


def digest_of_rows(table: pa.Table) -> str:
    """Return sha256 (hex) of names, types and values, however they lie in memory or in a file.

    Args:
        table: Conformed; a missing number and NaN are the same.
    """
    digest = hashlib.sha256()
    for field, column in zip(table.schema, table.columns, strict=True):
        digest.update(f"{json.dumps([field.name, str(field.type)])}\n".encode())
        if pa.types.is_floating(field.type):
            digest.update(np.asarray(column.to_numpy(), dtype="<f8").tobytes())
        else:
            plain = column.cast(pa.int64()) if pa.types.is_timestamp(field.type) else column
            digest.update(json.dumps(plain.to_pylist()).encode())
    return digest.hexdigest()


def read_held_out(datasets: DatasetStore, uri: str, digest: str) -> pa.Table:
    """Return the rows that a model was not fitted on, as they were when it was trained.

    Args:
        datasets: Keeps them.
        uri: Where.
        digest: Of the model's card; empty if it was trained before cards had one, and then nothing
            is compared.

    Raises:
        SourceNotFoundError: They are gone.
        IntegrityError: They are others now.
    """
    table = datasets.table(uri)
    if digest and digest_of_rows(table) != digest:
        raise IntegrityError(
            f"the held-out rows in {uri} are not those the model was trained with; nothing was "
            "gated",
            hint="find out who wrote to that file; train again: the new model gets rows of its own",
        )
    return table
