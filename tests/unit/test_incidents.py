"""Alerts near each other are one incident, open until every row of it was judged."""

from dataclasses import replace
from datetime import UTC, datetime

from pynomaly.domain.incidents import Alert, group

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def alert(position, said=None, p_value=0.01):
    return Alert(
        f"{position:064x}", {"txn_id": f"t{position}"}, "/in/a.csv", position, 3.0, p_value, 50.0,
        ("amount 9",), 1, NOON, said,
    )  # fmt: skip


def test_alerts_with_fewer_than_five_rows_between_them_belong_together():
    found = group([alert(0), alert(5), alert(10), alert(16), alert(40)])
    assert [[a.position for a in incident.alerts] for incident in found] == [[0, 5, 10], [16], [40]]
    assert group([]) == ()


def test_an_incident_keeps_its_name_whatever_is_said_and_however_it_grows():
    first, second = alert(3), alert(4)
    (one,), (judged,), (longer,) = (
        group([first]), group([replace(first, said="normal")]), group([first, second]),
    )  # fmt: skip
    assert one.id == judged.id == longer.id
    assert group([second])[0].id != one.id
    assert group([replace(first, source="/in/b.csv")])[0].id != one.id


def test_an_incident_is_open_until_every_row_was_judged():
    states = {
        (None, None): "open",
        ("anomaly", None): "open",
        ("anomaly", "normal"): "confirmed",
        ("normal", "normal"): "dismissed",
    }
    for said, state in states.items():
        (incident,) = group([alert(i, what) for i, what in enumerate(said)])
        assert incident.state == state
    assert group([alert(1, p_value=0.02), alert(2, p_value=0.001)])[0].strangest.position == 2
