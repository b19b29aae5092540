"""Everything that can go wrong, and the exit code each kind leaves behind.

```
PynomalyError                       1  anything unexpected that we can still name
├── PartitionsFailedError           1  some pieces of the input could not be scored, the others are
├── UsageError                      2  the request cannot be carried out as written
│   ├── ConfigurationError             a YAML file, key or value is wrong
│   ├── UnknownPipelineError           no conf/pipelines/<name>.yaml
│   ├── SourceNotFoundError            file, bucket or table missing, or access denied
│   ├── UnsupportedFormatError         the format cannot be told or read
│   ├── OutputExistsError              would overwrite something we did not write
│   ├── OutputNotWritableError         the target folder or bucket refuses us
│   ├── NoChampionError                nothing has been promoted yet
│   ├── NotTrainableError              too few rows or columns to learn from
│   └── MissingExtraError              an optional dependency is not installed
├── DataRejectedError               3  the data was read and refused
│   ├── MalformedSourceError           empty, ragged beyond repair, undecodable, duplicate columns
│   └── ValidationFailedError          a critical expectation failed; carries the report's id
├── ReleaseBlockedError             4  a gate blocked the release, or was inconclusive
├── ApprovalPendingError            5  a gate asks a person to look before the release goes on
├── ConflictError                   6  another run was faster: promoted, or wrote the same
│   ├── FencedError                    a lease was taken over; the work under it does not count
│   ├── ConnectionLostError            a database that had answered no longer does
│   └── SourceChangedError             the input is no longer what was planned
└── IntegrityError                  7  a digest, manifest or golden row does not match
```
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "ApprovalPendingError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionLostError",
    "DataRejectedError",
    "FencedError",
    "IntegrityError",
    "MalformedSourceError",
    "MissingExtraError",
    "NoChampionError",
    "NotTrainableError",
    "OutputExistsError",
    "OutputNotWritableError",
    "PartitionsFailedError",
    "PynomalyError",
    "ReleaseBlockedError",
    "SourceChangedError",
    "SourceNotFoundError",
    "UnknownPipelineError",
    "UnsupportedFormatError",
    "UsageError",
    "ValidationFailedError",
]


class PynomalyError(Exception):
    """Root of the tree.

    Args:
        message: What happened, naming the file, column or row.
        hint: How to fix it; shown on its own line.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message, then the hint."""
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross process boundaries with every attribute, keyword arguments included."""
        return _restore, (type(self), self.args, vars(self))


def _restore(
    kind: type[PynomalyError], arguments: tuple[Any, ...], attributes: dict[str, Any]
) -> PynomalyError:
    error = kind.__new__(kind, *arguments)
    vars(error).update(attributes)
    return error


class PartitionsFailedError(PynomalyError):
    """Some pieces of the input could not be scored; the others are committed and stay so."""


class UsageError(PynomalyError):
    """The request cannot be carried out as written."""

    exit_code = 2


class ConfigurationError(UsageError):
    """A configuration file, key or value is wrong; the message gives file and line."""


class UnknownPipelineError(UsageError):
    """No pipeline of that name is configured; the hint suggests the nearest."""


class SourceNotFoundError(UsageError):
    """The file, folder, bucket or table is missing or may not be read."""


class UnsupportedFormatError(UsageError):
    """The format of a source or output cannot be told or is not supported."""


class OutputExistsError(UsageError):
    """The output exists and was not written by us."""


class OutputNotWritableError(UsageError):
    """The output's folder or bucket cannot be written."""


class NoChampionError(UsageError):
    """The pipeline has no promoted model yet."""


class NotTrainableError(UsageError):
    """Too few rows or usable columns to learn from."""


class MissingExtraError(UsageError):
    """An optional dependency is needed; the hint names the pip extra."""


class DataRejectedError(PynomalyError):
    """The data was read and refused."""

    exit_code = 3


class MalformedSourceError(DataRejectedError):
    """The bytes are there but are not a usable table."""


class ValidationFailedError(DataRejectedError):
    """A critical expectation failed, or too many rows had to be quarantined.

    Args:
        message: What failed: column, expectation, observed, allowed.
        report_id: The stored validation report.
        hint: How to fix it.
    """

    def __init__(self, message: str, *, report_id: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.report_id = report_id


class ReleaseBlockedError(PynomalyError):
    """A gate blocked the release or could not decide; the champion keeps serving.

    Args:
        message: Gate, observed value, bound and threshold.
        release_id: The stored release with all its gates.
        hint: How to proceed.
    """

    exit_code = 4

    def __init__(self, message: str, *, release_id: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.release_id = release_id


class ApprovalPendingError(PynomalyError):
    """A gate asks a person to look; the champion keeps serving until somebody accepts.

    Args:
        message: Gate, observed value, bound and threshold.
        release_id: The stored release with all its gates.
        hint: How to accept.
    """

    exit_code = 5

    def __init__(self, message: str, *, release_id: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.release_id = release_id


class ConflictError(PynomalyError):
    """Another run is already doing this, or has overtaken this one."""

    exit_code = 6


class FencedError(ConflictError):
    """A lease was taken over by another worker; what was done under it does not count."""


class ConnectionLostError(ConflictError):
    """A database ended a connection, or gives none any more; what was not committed is undone."""


class SourceChangedError(ConflictError):
    """The input is no longer what it was when the work on it was planned."""


class IntegrityError(PynomalyError):
    """Stored bytes are not what was recorded about them."""

    exit_code = 7
