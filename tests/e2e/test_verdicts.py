"""Flagged rows are listed, judged one by one or together, and what was said is kept."""

import json
from pathlib import Path

import pandas as pd
import pytest

from command_line import Cli, frame
from pynomaly.bootstrap import build
from pynomaly.settings import load_settings

DIRECT = ("--engine", "direct", "--json")


def batch(seed: int, burst: int) -> pd.DataFrame:
    """Ordinary rows and four anomalies beside each other."""
    rows = frame(300, seed)
    rows.loc[burst : burst + 3, ["amount", "load"]] += 60
    return rows


@pytest.fixture
def scored(scoring_project: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> Path:
    """A project that scored ``monday.csv``, whose rows 50 to 53 are anomalies."""
    monkeypatch.chdir(scoring_project)
    monkeypatch.delenv("PYNOMALY_HOME", raising=False)
    batch(31, 50).to_csv("monday.csv", index=False)
    assert cli("score", "payments", "--data", "monday.csv", *DIRECT).code == 0
    return scoring_project


def ids_of_burst(seed: int, first: int) -> list[str]:
    return [f"t{seed}-{first + i}" for i in range(4)]


def incident_of(cli: Cli, first: str, key: str = "txn_id") -> dict[str, object]:
    listed = cli("incidents", "list", "payments", "--all", "--limit", "1000", "--json").json
    found: dict[str, object] = next(
        i for i in listed["incidents"] if i["alerts"][0]["ids"][key] == first
    )
    return found


def test_a_burst_is_one_incident_and_is_judged_at_once(scored: Path, cli: Cli) -> None:
    burst = ids_of_burst(31, 50)
    incident = incident_of(cli, burst[0])
    assert [a["ids"]["txn_id"] for a in incident["alerts"]] == burst  # type: ignore[attr-defined]
    assert incident["state"] == "open"
    name = str(incident["id"])
    assert "amount" in cli("incidents", "show", "payments", name).out

    said = cli("verdicts", "record", "payments", "--id", burst[1], "--verdict", "normal", "--json")
    assert said.code == 0
    assert incident_of(cli, burst[0])["state"] == "open"
    rest = ("verdicts", "record", "payments", "--incident", name, "--verdict", "anomaly")
    judged = cli(*rest, "--reason", "chargebacks", "--json").json["recorded"]
    assert [v["ids"]["txn_id"] for v in judged] == [burst[0], burst[2], burst[3]]
    assert {v["reason"] for v in judged} == {"chargebacks"}
    row = pd.read_csv("monday.csv", index_col="txn_id").loc[burst[0]]
    assert judged[0]["values"] == {
        name: float(row[name]) for name in ("amount", "rate", "load", "delay")
    } | {"country": row.country}
    assert incident_of(cli, burst[0])["state"] == "confirmed"
    again = cli(*rest, "--json")
    assert again.code == 2
    assert "every row of incident" in again.error

    # Scored anew, perhaps by another model, the rows are still the judged ones.
    assert cli("score", "payments", "--data", "monday.csv", "--out", "s", *DIRECT).code == 0
    assert incident_of(cli, burst[0])["state"] == "confirmed"

    assert cli("verdicts", "withdraw", "payments", "--id", burst[0], "--json").code == 0
    assert incident_of(cli, burst[0])["state"] == "open"
    stands = cli("verdicts", "list", "payments", "--json").json
    assert (stands["anomalies"], stands["normal"]) == (2, 1)
    assert len(cli("verdicts", "list", "payments", "--history", "--json").json["verdicts"]) == 5
    nothing = cli("verdicts", "withdraw", "payments", "--id", burst[0], "--json")
    assert nothing.code == 2
    assert f"no verdict stands on the row txn_id '{burst[0]}'" in nothing.error

    # Flagged rows whose scores are gone are told, here and by training, not forgotten.
    known = cli("incidents", "list", "payments", "--all", "--json").json
    for part in Path("s").rglob("*.parquet"):
        part.unlink()
    lost = cli("incidents", "list", "payments", "--all", "--json").json
    assert known["unreadable"] == 0
    assert lost["unreadable"] >= len(burst)
    assert lost["total"] < known["total"]
    assert "pynomaly scores verify payments" in cli("incidents", "list", "payments").out
    platform = build(load_settings())
    assert platform.judgements(platform.pipeline("payments")).nameless == lost["unreadable"]


def test_a_file_of_verdicts_counts_whole_or_not_at_all(scored: Path, cli: Cli) -> None:
    rows = [("t31-50", "anomaly", "seen"), ("t31-7", "normal", None), ("t31-8", None, None)]
    reviewed = pd.DataFrame(rows, columns=["txn_id", "verdict", "reason"])
    reviewed.to_parquet("reviewed.parquet")
    file = ("verdicts", "record", "payments", "--from", "reviewed.parquet", "--json")
    recorded = cli(*file).json["recorded"]
    assert [(v["ids"]["txn_id"], v["verdict"], v["reason"]) for v in recorded] == [
        ("t31-50", "anomaly", "seen"), ("t31-7", "normal", ""),
    ]  # fmt: skip

    broken = {
        "t31-51,anomaly,\nt99-1,normal,": "no row of 'payments' scored has txn_id 't99-1'",
        "t31-51,anomaly,\nt31-51,normal,monday.csv": "txn_id 't31-51' is given twice",
        "t31-51,maybe,": "says 'maybe'",
        "t31-51,,": "holds no verdict",
    }
    for lines, problem in broken.items():
        Path("bad.csv").write_text(f"txn_id,verdict,source\n{lines}\n")
        outcome = cli("verdicts", "record", "payments", "--from", "bad.csv", "--json")
        assert outcome.code in (2, 3)
        assert problem in outcome.error
    assert len(cli("verdicts", "list", "payments", "--json").json["verdicts"]) == 2

    usage = cli("verdicts", "record", "payments", "--id", "t31-51", "--json")
    assert usage.code == 2
    assert "--verdict anomaly|normal" in usage.error


def test_ids_that_do_not_tell_rows_apart_are_refused_until_the_file_is_named(
    scored: Path, cli: Cli
) -> None:
    tuesday = batch(31, 90)  # the same ids, other values
    tuesday.loc[0, "amount"] = None
    tuesday.loc[1, "txn_id"] = None
    tuesday.to_csv("tuesday.csv", index=False)
    assert cli("score", "payments", "--data", "tuesday.csv", *DIRECT).code == 0

    record = ("verdicts", "record", "payments", "--verdict", "anomaly", "--json", "--id")
    ambiguous = cli(*record, "t31-90")
    assert ambiguous.code == 2
    assert "2 scored rows have txn_id 't31-90', and they are not alike" in ambiguous.error
    assert "--source FILE" in ambiguous.error
    elsewhere = f"../{Path.cwd().name}/tuesday.csv"
    named = cli(*record, "t31-90", "--source", elsewhere).json["recorded"][0]
    assert named["source"].endswith("tuesday.csv")
    assert named["values"]["amount"] > 90
    assert cli(*record, "t31-120").code == 0  # alike in both

    # The ledger has it by a path that has become a link.
    Path("real").mkdir()
    Path("tuesday.csv").rename("real/tuesday.csv")
    Path("tuesday.csv").symlink_to("real/tuesday.csv")
    for row, spelled in (("t31-91", "tuesday.csv"), ("t31-92", "real/tuesday.csv")):
        assert cli(*record, row, "--source", spelled).code == 0
    withdraw = ("verdicts", "withdraw", "payments", "--id", "t31-91", "--json", "--source")
    assert cli(*withdraw, "real/tuesday.csv").code == 0

    # A later state of it is scored by its own path; what the former path has is out of reach.
    later = batch(31, 90)
    later["amount"] += 1
    later.to_csv("real/tuesday.csv", index=False)
    assert cli("score", "payments", "--data", "real/tuesday.csv", *DIRECT).code == 0
    judged = cli(*record, "t31-93", "--source", "tuesday.csv").json["recorded"][0]
    assert judged["source"].endswith("real/tuesday.csv")

    # The values of a row are kept with its verdict, so they have to be there.
    Path("tuesday.csv").write_text("txn_id\nx\n")
    changed = cli(*record, "t31-92", "--source", "tuesday.csv")
    assert changed.code == 6
    assert "tuesday.csv" in changed.error


def test_rows_without_ids_are_called_by_their_values(scored: Path, cli: Cli) -> None:
    path = scored / "conf/pipelines/payments.yaml"
    path.write_text(path.read_text().replace("id: txn_id\n", ""))
    for day in ("monday", "tuesday"):
        batch(31, 50).to_csv(f"{day}.csv", index=False)
        assert cli("score", "payments", "--data", f"{day}.csv", *DIRECT).code == 0

    first = incident_of(cli, "tuesday.csv#51", "row_id")
    same = incident_of(cli, "monday.csv#51", "row_id")
    said = cli(
        "verdicts", "record", "payments", "--incident", str(first["id"]), "--verdict", "anomaly",
        "--json",
    )  # fmt: skip
    assert said.code == 0, json.dumps(said.json)
    # Rows of equal values are one row.
    for incident in (first, same):
        shown = cli("incidents", "show", "payments", str(incident["id"]), "--json").json
        assert shown["state"] == "confirmed"
    Path("reviewed.csv").write_text("row,verdict,source\nmonday.csv#7,normal,monday.csv\n")
    reviewed = cli("verdicts", "record", "payments", "--from", "reviewed.csv", "--json").json
    assert reviewed["recorded"][0]["ids"] == {"row_id": "monday.csv#7"}
    Path("tuesday.csv").unlink()
    gone = cli("incidents", "show", "payments", str(first["id"]))
    assert "cannot be judged" in gone.out


def test_training_learns_from_verdicts_and_gates_look_at_them(scored: Path, cli: Cli) -> None:
    listed = cli("incidents", "list", "payments", "--limit", "1000", "--json").json
    alerts = [alert for incident in listed["incidents"] for alert in incident["alerts"]]
    rows = pd.DataFrame([alert["ids"] for alert in alerts])
    rows["verdict"] = "anomaly"
    rows[:-1].to_csv("reviewed.csv", index=False)  # one of them still waits
    assert cli("verdicts", "record", "payments", "--from", "reviewed.csv").code == 0

    path = scored / "conf/pipelines/payments.yaml"
    quick = path.read_text().replace("trials: 2", "trials: 1, detectors: [ecod]")
    path.write_text(f"{quick}release: {{min_gate_rows: 100}}\n")
    trained = cli("train", "payments", *DIRECT).json["steps"]["train"]
    metrics = trained["metrics"]
    assert metrics["verdicts_standing"] == len(alerts) - 1
    assert metrics["verdicts_anomalies_taught"] >= metrics["verdicts_added"] > 0
    assert metrics["labels_used"] == 1.0
    assert f"Of {len(alerts) - 1} verdicts" in trained["verdicts"]

    released = cli("release", "payments", *DIRECT).json
    gates = {gate["gate"]: gate for gate in released["steps"]["gate"]["gates"]}
    assert gates["contamination"]["verdict"] == "pass"
    assert gates["contamination"]["n"] == len(alerts)
