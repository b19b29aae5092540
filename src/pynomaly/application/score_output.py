"""Where scored rows go, and which places are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pynomaly.application.destinations import refuse_shared_places
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartStore
from pynomaly.application.read_scores import ReadScores, is_file, looks_like_a_file
from pynomaly.domain.errors import ConfigurationError, OutputExistsError, UnsupportedFormatError
from pynomaly.domain.ledger import Output

__all__ = ["ScoreOutput"]


@dataclass(frozen=True, slots=True)
class ScoreOutput:
    """Settle where the parts of a job go.

    Args:
        ledger: Knows what we wrote where.
        store: Knows the places of parts.
        scores: Knows the files we copied parts into.
        folder: For outputs nobody gave a place.
        require_writable: Raises where a path on disk cannot be written to.
    """

    ledger: Ledger
    store: PartStore
    scores: ReadScores
    folder: Path
    require_writable: Callable[[str], None]

    def target(self, pipeline: str, output: Output) -> str:
        """Return where the parts go: below ``folder`` where the output names no place for them.

        Raises:
            ConfigurationError: A target that holds a password, or names no table.
            UnsupportedFormatError: No such kind of target.
        """
        own = output.out is None or is_file(output.out)
        return self.store.resolve(str(self.folder / pipeline) if own else output.out or "")

    def admit(self, pipeline: str, output: Output, source: str) -> str:
        """Return where the parts go, unless they must not go there.

        Args:
            pipeline: Which pipeline.
            output: Asked for.
            source: What is read: absolute path, folder or glob, or a URL without password.

        Raises:
            UnsupportedFormatError: It is named like a file of a kind we do not write.
            ConfigurationError: It would be read as input, cannot be divided, or is no place.
            OutputExistsError: It holds something we did not write.
            OutputNotWritableError: It is on disk, cannot be written to, and is no folder with scores.
        """
        target = self.target(pipeline, output)
        if output.out is None:
            return target
        wrote = self.ledger.wrote(target)
        if not wrote and looks_like_a_file(output.out) and not self.store.occupied(target):
            raise UnsupportedFormatError(
                f"{output.out} is named like a file, but not like one that scores are written to",
                hint="name a file .parquet, .csv or .jsonl; if a folder is meant, end it with a "
                f"slash: {output.out}/",
            )
        refuse_shared_places(source, {"--out": output.out if is_file(output.out) else target})
        if is_file(output.out):
            if output.partition_by is not None:
                raise ConfigurationError(
                    f"{output.out} is one file and cannot be divided by '{output.partition_by}'",
                    hint="name a folder or an s3:// prefix",
                )
            self.scores.refuse_foreign(output.out, overwrite=output.overwrite)
        else:
            is_table = "://" in target and not target.startswith("s3://")
            may_hold = output.overwrite or wrote
            # A database is asked in any case: whether it answers is told before anything is read.
            occupied = (is_table or not may_hold) and self.store.occupied(target)
            if occupied and not may_hold:
                raise OutputExistsError(
                    f"{target} holds something that Pynomaly did not write, or was told to forget; "
                    "it was left as it is",
                    hint="name another table"
                    if is_table
                    else "choose another place, or allow writing beside it with --overwrite",
                )
        # In a folder it wrote to before there may be nothing left to write, read-only by now or not.
        if "://" not in output.out and (is_file(output.out) or not wrote):
            self.require_writable(output.out)
        return target
