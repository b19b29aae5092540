"""Scoring on Dask: a worker killed in the middle costs a partition, and no row."""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import dask
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster
from prefect_dask import DaskTaskRunner

from command_line import frame
from pynomaly.application.contest import Challenger
from pynomaly.application.plan_scoring import score_version
from pynomaly.bootstrap import build
from pynomaly.domain.decision import Line
from pynomaly.domain.errors import (
    ConfigurationError,
    MissingExtraError,
    OutputNotWritableError,
    PartitionsFailedError,
    SourceNotFoundError,
)
from pynomaly.domain.ledger import Output
from pynomaly.domain.rollouts import RolloutPolicy, plan_rollout
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.dask import DaskCompute
from pynomaly.presentation.cli.main import main
from pynomaly.scoring import scoring_workers
from pynomaly.settings import RecordsSettings, load_settings
from pynomaly_flows.context import acting_on
from pynomaly_flows.deployable import profiling
from pynomaly_flows.steps import Step

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PARTITIONS, ROWS, LEASE_SECONDS = 20, 2_000, 60


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Of a project whose pipeline has a champion, cheap to score with."""
    folder = tmp_path_factory.mktemp("dask")
    (folder / "conf" / "base").mkdir(parents=True)
    (folder / "conf" / "base" / "settings.yaml").write_text(
        f"scoring: {{partition_rows: {ROWS}, batch_rows: 500, lease_seconds: {LEASE_SECONDS}}}\n"
    )
    frame(800, 1).to_csv(folder / "payments.csv", index=False)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["init", "payments", "--data", "payments.csv", "--id", "txn_id"]) == 0
        pipeline = folder / "conf/pipelines/payments.yaml"
        pipeline.write_text(pipeline.read_text() + "\ntraining: {trials: 1, detectors: [pca]}\n")
        assert main(["run", "payments", "--engine", "direct"]) == 0
    finally:
        os.chdir(before)
    rows = pa.Table.from_pandas(frame(PARTITIONS * ROWS, 2), preserve_index=False)
    pq.write_table(rows, folder / "new.parquet", row_group_size=ROWS)
    return load_settings(folder, {})


@pytest.fixture(scope="module")
def platform(settings):
    return build(settings)


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes with a thread each; a task that costs one its life is given up."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
        ) as cluster,
    ):
        yield cluster


@pytest.fixture
def dask_compute(platform, cluster):
    """Function that makes a compute on the cluster."""

    def make(workers=None):
        workers = workers or partial(scoring_workers, platform.settings)
        return DaskCompute(platform.ledger, workers, cluster.scheduler_address, 2)

    return make


def score(platform, out, compute, on_rows=lambda _: None, data="new.parquet", **changes):
    """Score a file of the project; returns the job's partitions."""
    pipeline = platform.pipeline("payments")
    source = pipeline.source.at(str(platform.settings.project / data))
    plan = platform.plan_scoring(pipeline, source)
    validated = platform.validate(pipeline, source, "run", plan)
    use_case = replace(platform.score, compute=compute, **changes)
    scored = use_case(pipeline, source, validated, "run", Output(str(out)), on_rows)
    return platform.ledger.entries_of(scored.batch.id)


def rows_of(entries):
    """Return the committed rows in the order of the plan, without their moment."""
    parts = [pq.read_table(part.uri) for one in entries for part in one.outcome.parts]
    return pa.concat_tables(parts).drop_columns("scored_at")


@pytest.fixture(scope="module")
def expected(platform, tmp_path_factory):
    """The rows as one process scores them."""
    entries = score(platform, tmp_path_factory.mktemp("one"), platform.workers)
    assert len(entries) == PARTITIONS
    return rows_of(entries)


def owner_of(lease):
    return int(lease.owner.split(":")[1])


def kill_at_work(ledger):
    """Kill -9 a worker that is certainly at work on a partition; returns its lease."""
    job = ledger.jobs("payments", 1)[0].id
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for lease in ledger.leases(job):
            process = psutil.Process(owner_of(lease))
            process.suspend()
            if lease in ledger.leases(job):
                process.kill()
                return lease
            process.resume()
    raise AssertionError("no worker was ever at work")


def test_a_worker_killed_in_the_middle_costs_a_partition_and_no_row(
    platform, dask_compute, expected, tmp_path
):
    killed, seen = [], []

    def on_rows(rows):
        seen.append(rows)
        if rows >= 4 * ROWS and not killed:
            killed.append(kill_at_work(platform.ledger))

    started = time.monotonic()
    entries = score(platform, tmp_path / "scores", dask_compute(), on_rows)

    assert time.monotonic() - started < LEASE_SECONDS  # it was broken, not waited for
    again = [one for one in entries if one.attempts > 1]
    assert [one.key for one in again] == [killed[0].key]
    assert again[0].attempts == 2
    assert owner_of(again[0]) != owner_of(killed[0])
    assert os.getpid() not in {owner_of(one) for one in entries}
    assert rows_of(entries).equals(expected)
    committed = {part.uri for one in entries for part in one.outcome.parts}
    files = {str(path) for path in (tmp_path / "scores").rglob("*.parquet")}
    strays = files - committed  # killed between publishing its file and the commit
    assert len(strays) <= 1
    assert {uri for uri in platform.verify_scores("payments").orphans if uri in files} == strays
    assert committed <= files
    assert seen == sorted(seen)
    assert seen[-1] <= PARTITIONS * ROWS


def test_all_workers_killed_at_once_are_replaced_and_the_job_goes_on(
    platform, cluster, dask_compute, expected, tmp_path
):
    """The model they all held goes with them and is sent again."""
    killed = []

    def on_rows(rows):
        if rows >= 4 * ROWS and not killed:
            killed.extend(nanny.pid for nanny in cluster.workers.values())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    entries = score(platform, tmp_path / "scores", dask_compute(), on_rows)

    assert len(killed) == 2
    assert {owner_of(one) for one in entries} - set(killed)
    assert rows_of(entries).equals(expected)


def test_a_challenger_answers_and_is_compared_on_a_cluster_as_in_one_process(
    platform, dask_compute, tmp_path
):
    def beside(pipeline, champion):
        """The model that serves, with twice the budget, answers half of the rows."""
        policy = replace(pipeline.decision, budget=2 * pipeline.decision.budget)
        rollout = plan_rollout(
            RolloutPolicy(canary_shares=(0.5,)), "5a17", to="production", first=False
        )
        decided = replace(pipeline, decision=policy)
        return Challenger(
            "release-2", 0, rollout, platform.loader.load(champion),
            score_version(decided, champion), policy, Line(float("inf"), last=-1),
        )  # fmt: skip

    data = platform.settings.project / "few.parquet"
    rows = pa.Table.from_pandas(frame(3 * ROWS, 3), preserve_index=False)
    pq.write_table(rows, data, row_group_size=ROWS)
    alone, spread = (
        score(platform, tmp_path / name, compute, data=data.name, challenger=beside)
        for name, compute in (("alone", platform.workers), ("spread", dask_compute()))
    )

    assert rows_of(spread).equals(rows_of(alone))
    assert [one.outcome.observed for one in spread] == [one.outcome.observed for one in alone]
    assert sum(one.outcome.observed.seen.answered for one in spread) == pytest.approx(
        1.5 * ROWS, rel=0.1
    )
    assert len(set(rows_of(spread)["policy_version"].to_pylist())) == 2
    assert os.getpid() not in {owner_of(one) for one in spread}


def test_the_command_starts_a_cluster_of_its_own_and_finds_what_is_done(
    settings, expected, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(settings.project)
    command = ["score", "payments", "--data", "new.parquet", "--engine", "direct", "--json"]
    assert main([*command, "--out", str(tmp_path), "--engine-compute", "dask"]) == 0
    document = json.loads(capfd.readouterr().out)
    entries = build(settings).ledger.entries_of(document["steps"]["score"]["batch_id"])
    assert os.getpid() not in {owner_of(one) for one in entries}
    assert len({owner_of(one) for one in entries}) == settings.scoring.workers
    assert rows_of(entries).equals(expected)

    # In threads nothing is left to do: what shapes the output is the same.
    assert main([*command, "--out", str(tmp_path)]) == 0
    again = json.loads(capfd.readouterr().out)["steps"]["score"]["batch_id"]
    assert build(settings).ledger.entries_of(again) == entries


def test_workers_that_die_of_a_partition_end_the_job_with_an_error(
    platform, dask_compute, tmp_path
):
    deadly = dask_compute(partial(os._exit, 9))
    with pytest.raises(PartitionsFailedError, match="died and nothing was scored") as failure:
        score(platform, tmp_path, deadly, data="payments.csv")
    assert "--memory" in failure.value.hint


def test_workers_on_another_database_are_noticed(settings, platform, dask_compute, tmp_path):
    other = replace(settings, records=RecordsSettings(f"sqlite:///{tmp_path}/other.db"))
    with pytest.raises(ConfigurationError, match="it works on another database"):
        score(
            platform, tmp_path / "scores", dask_compute(partial(scoring_workers, other)),
            data="payments.csv",
        )  # fmt: skip


def test_an_error_of_a_worker_is_raised_as_it_was(platform, dask_compute, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputNotWritableError):
        score(platform, tmp_path / "file" / "scores", dask_compute(), data="payments.csv")


def test_schedulers_without_workers_or_not_there_are_named(platform, tmp_path):
    def compute(address):
        return DaskCompute(platform.ledger, partial(scoring_workers, platform.settings), address, 2)

    with dask.config.set({"distributed.comm.timeouts.connect": "500ms"}):
        with pytest.raises(ConfigurationError, match="no Dask scheduler answers at tcp://127"):
            score(platform, tmp_path, compute("tcp://127.0.0.1:1"), data="payments.csv")
        with (
            LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as idle,
            pytest.raises(ConfigurationError, match="has no workers"),
        ):
            score(platform, tmp_path, compute(idle.scheduler_address), data="payments.csv")


def test_a_scheduler_that_is_not_there_is_named_before_anything_is_read(settings):
    chosen = replace(settings.scoring, compute="dask", scheduler="tcp://127.0.0.1:1")
    absent = build(replace(settings, scoring=chosen))
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "500ms"}),
        pytest.raises(ConfigurationError, match="no Dask scheduler answers at tcp://127"),
    ):
        absent.plan_scoring(absent.pipeline("payments"), SourceSpec("not there"), output=Output())


def test_without_the_extra_the_error_says_how_to_get_it(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    chosen = replace(settings, scoring=replace(settings.scoring, compute="dask"))
    with pytest.raises(MissingExtraError) as failure:
        _ = build(chosen).score
    assert failure.value.hint == "pip install 'pynomaly-platform[dask]'"


def test_a_scheduler_is_refused_where_threads_score(settings, monkeypatch, capfd):
    variable = {"PYNOMALY_SCORING__SCHEDULER": "tcp://host:8786"}
    with pytest.raises(ConfigurationError, match=r"SCHEDULER.*needs `compute: dask`"):
        load_settings(settings.project, variable)
    used = load_settings(settings.project, variable | {"PYNOMALY_SCORING__COMPUTE": "dask"})
    assert used.scoring.scheduler == "tcp://host:8786"

    monkeypatch.chdir(settings.project)
    assert main(["score", "payments", "--scheduler", "tcp://host:8786"]) == 2
    assert "add --engine-compute dask" in capfd.readouterr().err


@pytest.fixture
def on_dask(settings, cluster, prefect_api):
    """The profiling flow, its steps on the cluster, whose workers are in the project's folder."""
    address = cluster.scheduler_address
    with Client(address) as client:
        client.run(os.chdir, settings.project)
    return profiling.with_options(task_runner=DaskTaskRunner(address=address))


@pytest.mark.prefect
def test_the_steps_of_a_flow_run_where_its_task_runner_says(on_dask, platform, monkeypatch):
    monkeypatch.setattr(Step, "_run", None)  # none can run in this process
    heard = []
    with acting_on(platform, heard.append):
        document = on_dask("payments")
        with pytest.raises(SourceNotFoundError, match=r"nowhere\.csv"):
            on_dask("payments", data="nowhere.csv")
    assert list(document["steps"]) == ["plan", "validate", "profile"]
    assert [(e.kind, e.step) for e in heard if e.kind in ("started", "finished", "failed")] == [
        ("started", "plan"), ("finished", "plan"), ("started", "validate"),
        ("finished", "validate"), ("started", "profile"), ("finished", "profile"),
        ("started", "plan"), ("failed", "plan"),
    ]  # fmt: skip
