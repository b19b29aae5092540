"""Every implementation of ``Verdicts`` keeps the same promises."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from pynomaly.domain.errors import ConflictError
from pynomaly.domain.runs import Actor
from pynomaly.domain.verdicts import Verdict, standing
from pynomaly.infrastructure.sqlalchemy.verdicts import SqlVerdicts
from pynomaly.testing import InMemoryVerdicts

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture(
    params=[
        "memory",
        pytest.param("sqlite", marks=pytest.mark.integration),
        pytest.param("postgres", marks=[pytest.mark.integration, pytest.mark.postgres]),
    ]
)
def verdicts(request, tmp_path):
    if request.param == "memory":
        return InMemoryVerdicts()
    if request.param == "sqlite":
        return SqlVerdicts(f"sqlite:///{tmp_path}/pynomaly.db")
    return SqlVerdicts(request.getfixturevalue("empty_postgres_database"))


def verdict(key="v1", row="a1", said="anomaly", **changes):
    values = {"amount": 9.5, "vip": True, "country": "D\x00E", "ts": None}
    found = Verdict(
        key, "payments", row, {"txn_id": "t1"}, said, values, "/in/a.csv", Actor("ada"), NOON, "odd"
    )
    return replace(found, **changes)


def test_verdicts_come_back_as_they_were_given_in_the_order_they_arrived(verdicts):
    late = verdict("v1", at=NOON + timedelta(days=1), reason="\x00 broken")
    early = verdict("v2", row="b2", said="normal", reason="")
    verdicts.add([late])
    verdicts.add([early, verdict("v3", pipeline="trips")])

    assert verdicts.of("payments") == (late, early)
    assert verdicts.of("trips") == (verdict("v3", pipeline="trips"),)
    assert verdicts.of("nothing") == ()


def test_the_newest_verdict_of_a_row_stands_until_it_is_withdrawn(verdicts):
    said = ["anomaly", "normal", "withdrawn", "anomaly", "withdrawn"]
    stood = []
    for number, what in enumerate(said):
        # Whatever clocks say: what arrived last is the newest.
        at = NOON - timedelta(hours=number)
        verdicts.add([verdict(f"v{number}", said=what, at=at)])
        stood.append([v.said for v in standing(verdicts.of("payments"))])

    assert stood == [["anomaly"], ["normal"], [], ["anomaly"], []]
    assert len(verdicts.of("payments")) == len(said)


def test_a_verdict_is_stored_once_and_never_changed(verdicts):
    verdicts.add([verdict()])
    verdicts.add([verdict(at=NOON.astimezone(timezone(timedelta(hours=2))))])  # the same moment

    with pytest.raises(ConflictError, match="v1 is stored already"):
        verdicts.add([verdict("v2"), verdict(said="normal")])
    assert verdicts.of("payments") == (verdict(),)
    with pytest.raises(ValueError, match="no time zone"):
        verdicts.add([verdict("v3", at=NOON.replace(tzinfo=None))])
