"""Identifiers sort by time."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pynomaly.domain.identifiers import new_id

moments = st.datetimes(
    datetime(1970, 1, 1),
    datetime(2500, 1, 1),
    timezones=st.just(UTC),
)


@given(moments, st.integers(min_value=1, max_value=10**12))
def test_an_id_made_a_microsecond_later_sorts_later(moment, microseconds):
    assert new_id(moment) < new_id(moment + timedelta(microseconds=microseconds))


@given(moments)
def test_an_id_is_a_version_7_uuid_of_its_millisecond(moment):
    made = UUID(new_id(moment))
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        milliseconds=1
    )


def test_ids_of_the_same_moment_differ():
    moment = datetime(2026, 11, 23, tzinfo=UTC)
    assert len({new_id(moment) for _ in range(1_000)}) == 1_000


def test_the_time_zone_does_not_matter():
    utc = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert new_id(utc)[:18] == new_id(utc.astimezone(timezone(timedelta(hours=9))))[:18]


@pytest.mark.parametrize("moment", [datetime(2026, 1, 1), datetime(1969, 1, 1, tzinfo=UTC)])
def test_a_moment_that_cannot_be_ordered_is_refused(moment):
    with pytest.raises(ValueError, match="needs a"):
        new_id(moment)
