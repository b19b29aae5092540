"""How far to trust a ranking made without labels.

Nothing here measures quality.  Agreement, stability and the like correlate 0.0–0.3 with average
precision over the public benchmark (docs: detection quality), so a good figure is never presented
as a good detector.  Bad figures are worth saying: a ranking that another half of the same data
would not have given, or scores that a featureless cloud would have given too, hold nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Cloud", "Stability", "Trust"]

MIN_CORRELATION = 0.5
"""Below it less than a quarter of the variance of the ranks is shared by two halves of the data."""

MIN_OVERLAP = 0.3
"""Of the strangest rows of one half's model, the other's should share at least so many, beyond what
unrelated rankings share by chance: 0 is chance, 1 is all."""

CLEAR_OVERLAP = 0.75
"""With so many in common the order of the ordinary rows does not matter."""

MIN_RANKED_ROWS = 25
"""With fewer rows unrelated rankings of them pass for related ones more often than in one table of
three hundred (random permutations: 7 % of 10 rows, 0.7 % of 20, 0.2 % of 25)."""

FEW_ROWS = 200
"""With fewer rows one percent are one or two rows, and any figure about them is luck."""

MAX_CHANCE_ROWS = 5
"""Of rows that score beyond what one row of the cloud would, chance gives more than 5 in less than
one table in a thousand (Poisson, mean 1)."""

MIN_CLOUD_SHARE, CLOUD_BULK = 0.004, (0.25, 0.8)
"""On noise the share is 0.01 give or take, on public tables that the cloud fits at all below 0.002."""


@dataclass(frozen=True, slots=True)
class Stability:
    """Whether two halves of the data give the same ranking.

    Args:
        rows: Ranked by both.
        top: How many of the strangest were compared.
        overlap: Share of them that both halves name, 0–1.
        chance: Overlap that unrelated rankings would have.
        correlation: Spearman's, over all rows.
    """

    rows: int
    top: int
    overlap: float
    chance: float
    correlation: float

    @property
    def can_tell(self) -> bool:
        """Whether there are rows enough to tell agreement from luck."""
        return self.rows >= MIN_RANKED_ROWS

    @property
    def is_stable(self) -> bool:
        """Whether another sample would have led to much the same rows."""
        if not self.can_tell:
            return False
        beyond_chance = (self.overlap - self.chance) / (1 - self.chance)
        if beyond_chance >= CLEAR_OVERLAP:
            return True
        return self.correlation >= MIN_CORRELATION and beyond_chance >= MIN_OVERLAP


@dataclass(frozen=True, slots=True)
class Cloud:
    """The scores beside those of a featureless cloud.

    The cloud is normal with the centre and covariance of the unsuspicious rows, scored by the same
    model.

    Args:
        far: Of the strangest rows, those further out, in one feature or in all together, than any
            row of such a cloud would be in 999 of 1,000 tables of this size.
        beyond: Rows that score higher than all but one in so many rows of the cloud.
        share: Of the cloud, rows that score higher than all but the strangest 1 % of the table.
        bulk: Of the cloud, rows that score higher than the table's median; near 0.5 where the
            cloud describes the table at all.
    """

    far: int
    beyond: int
    share: float
    bulk: float

    @property
    def explains_the_scores(self) -> bool:
        """Whether the strangest rows are no stranger than the edge of the cloud."""
        low, high = CLOUD_BULK
        return (
            low <= self.bulk <= high
            and not self.far
            and self.beyond <= MAX_CHANCE_ROWS
            and self.share >= MIN_CLOUD_SHARE
        )


@dataclass(frozen=True, slots=True)
class Trust:
    """What speaks for and against a ranking.

    Args:
        stability: Between two halves of the data.
        cloud: Beside a featureless cloud; None where known labels shaped the scores.
        rows: Learnt from.
        calibration_rows: Behind the p-values.
        alert_budget: Share of ordinary rows that may be flagged.
        labels: What known labels did for the scores, in a sentence; empty where there are none.
        uncertified: Name of the detector where it is uncertified; empty otherwise.
        in_time: Whether the halves are the older and the newer rows.
    """

    stability: Stability
    cloud: Cloud | None
    rows: int
    calibration_rows: int
    alert_budget: float
    labels: str = ""
    uncertified: str = ""
    in_time: bool = False

    @property
    def inconclusive(self) -> bool:
        """Whether there is nothing to hold on to without labels.

        Scores that labels shaped had to prove themselves on labelled rows; nothing else is asked.
        """
        if self.cloud is None:
            return False
        return self.cloud.explains_the_scores or not self.stability.is_stable

    @property
    def can_flag(self) -> bool:
        """Whether the calibration rows are enough for any p-value within the alert budget."""
        return 1 / (self.calibration_rows + 1) <= self.alert_budget

    @property
    def findings(self) -> tuple[str, ...]:
        """The same in sentences, what matters most first."""
        return tuple(self._findings())

    def _findings(self) -> Iterator[str]:
        if self.inconclusive:
            few = (
                "the labels given did not help, and without them"
                if self.labels
                else "without labels"
            )
            more = "more" if self.labels else "a few"
            yield (
                f"Inconclusive: {few} there is nothing here to hold on to. Do not act on this "
                f"ranking; label {more} rows and run again with them."
            )
        if self.uncertified:
            yield (
                f"{self.uncertified} is uncertified: nobody vouches that it repeats itself or scores "
                "a row alike in another batch. It is for experiments; no release takes it."
            )
        if self.labels:
            yield self.labels
        if self.cloud is not None and self.cloud.explains_the_scores:
            yield (
                "The strangest rows are no stranger than the edge of a plain cloud of random "
                f"points with the same spread: {self.cloud.beyond:,} of {self.rows:,} rows score "
                "higher than one such point in as many would. Any data has such an edge."
            )
        s = self.stability
        figures = (
            f"of the {s.top:,} strangest rows, models of two halves of the data share "
            f"{s.overlap:.0%} (chance: {s.chance:.1%}), rank correlation {s.correlation:.2f}"
        )
        if s.is_stable:
            yield (
                f"The ranking repeats itself: {figures}. Stability is not quality: it says that "
                "other rows of the same kind would give the same ranking, not that the rows on "
                "top are what you look for."
            )
        elif not s.can_tell:
            yield (
                f"Whether the ranking repeats itself cannot be told from {s.rows:,} rows: below "
                f"{MIN_RANKED_ROWS} two halves agree by luck too often."
            )
        else:
            why = "Other rows would lead others."
            if self.in_time:
                why = (
                    "The halves are the older and the newer rows: either the data has moved, or "
                    "other rows would lead others. Without a time column random halves are compared."
                )
            yield f"The ranking does not repeat itself: {figures}. {why}"
        if self.rows < FEW_ROWS:
            yield (
                f"{self.rows:,} rows are few: what counts as rare here rests on one or two rows."
            )
        if not self.can_flag:
            yield (
                f"No row can be flagged at a budget of {self.alert_budget:.2g}: p-values from "
                f"{self.calibration_rows:,} rows do not go below "
                f"{1 / (self.calibration_rows + 1):.2g}. Raise the alert budget or give more rows."
            )
