"""Identifiers that sort by the moment they were made."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

__all__ = ["new_id", "new_salt"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def new_id(now: datetime) -> str:
    """Return a new UUIDv7; as text it sorts by ``now`` to the microsecond.

    The twelve bits after the milliseconds carry their fraction (RFC 9562, section 6.2, method 3),
    the remaining 62 are random, so ids made in the same microsecond differ but have no order.

    Args:
        now: Timezone-aware, from 1970 on.

    Raises:
        ValueError: ``now`` has no time zone, or lies before 1970.

    >>> early = new_id(datetime(2026, 1, 1, tzinfo=UTC))
    >>> early < new_id(datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC))
    True
    >>> early[:14]
    '019b76da-a800-'
    """
    if now.tzinfo is None:
        raise ValueError(f"an id needs a timezone-aware moment, got {now.isoformat()}")
    milliseconds, microseconds = divmod((now - _EPOCH) // _MICROSECOND, 1000)
    if milliseconds < 0:
        raise ValueError(f"an id needs a moment from 1970 on, got {now.isoformat()}")
    fraction = microseconds * 4096 // 1000
    return str(
        UUID(
            int=milliseconds << 80
            | 0x7 << 76  # version
            | fraction << 64
            | 0b10 << 62  # variant
            | secrets.randbits(62)
        )
    )


def new_salt() -> str:
    """Return 128 random bits as hex."""
    return secrets.token_hex(16)
