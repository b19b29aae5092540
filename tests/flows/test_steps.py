"""A step behaves the same under Prefect and without; Prefect adds second chances."""

import pytest

from pynomaly.domain.errors import (
    IntegrityError,
    MalformedSourceError,
    PynomalyError,
    ReleaseBlockedError,
    SourceNotFoundError,
    ValidationFailedError,
)
from pynomaly_flows.runs import recorded_run
from pynomaly_flows.steps import step, transient

calls = []
faults = []


@pytest.fixture(autouse=True)
def _fresh():
    calls.clear()
    faults.clear()


@step(summary=lambda rows: {"rows": rows}, retry_seconds=0.01)
def read(job, rows):
    calls.append("read")
    return rows


@step(summary=lambda total: {"total": total}, retry_seconds=0.01)
def add(job, rows, more):
    calls.append("add")
    if faults:
        raise faults.pop(0)
    return rows + more


def tiny(pipeline: str, rows: int = 3, run_id: str | None = None):
    with recorded_run("run", pipeline, run_id) as run:
        add(run.job, read(run.job, rows), more=4)
    return run.document


def test_a_flow_records_its_run_and_steps_whichever_engine_ran_it(
    run_flow, engine, tiny_platform, events
):
    document = run_flow(tiny, "payments")

    run = tiny_platform.records.run(document["run_id"])
    assert (run.status, run.engine, run.command, run.actor.name) == (
        "completed", engine, "run", "tester",
    )  # fmt: skip
    steps = tiny_platform.records.steps(run.id)
    assert [(s.step, s.status, s.summary) for s in steps] == [
        ("read", "completed", {"rows": 3}),
        ("add", "completed", {"total": 7}),
    ]
    assert document["steps"] == {"read": {"rows": 3}, "add": {"total": 7}}
    assert document["report"].endswith(f"run-{run.id}.html")


def test_a_listener_hears_every_step_start_and_finish(run_flow, events):
    run_flow(tiny, "payments")

    assert [(e.kind, e.step) for e in events] == [
        ("started", "read"), ("finished", "read"), ("started", "add"), ("finished", "add"),
    ]  # fmt: skip
    assert events[-1].facts == {"total": 7}


@pytest.mark.parametrize(
    "error",
    [
        ValidationFailedError("bad column", report_id="r-1", hint="mend it"),
        ReleaseBlockedError("gate recall", release_id="x-1"),
        IntegrityError("digest"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_an_error_of_ours_comes_back_as_it_was_raised_and_is_not_tried_again(
    run_flow, tiny_platform, events, error
):
    faults.append(error)

    with pytest.raises(type(error)) as raised:
        run_flow(tiny, "payments")

    assert vars(raised.value) == vars(error)
    assert raised.value.exit_code == error.exit_code
    assert calls == ["read", "add"]
    (run,) = tiny_platform.records.runs("payments")
    assert run.status == "failed"
    assert error.message in run.error
    failed = tiny_platform.records.steps(run.id)[-1]
    ids = {k: v for k, v in vars(error).items() if k.endswith("_id")}
    assert failed.status == "failed"
    assert failed.summary == {"error": error.message, "type": type(error).__name__, **ids}
    assert tiny_platform.reported == [run.id]


def test_an_interrupted_run_is_recorded_as_failed(run_flow, tiny_platform, events):
    faults.append(KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        run_flow(tiny, "payments")

    (run,) = tiny_platform.records.runs("payments")
    assert run.status == "failed"
    assert run.error == "interrupted"


def test_an_unknown_pipeline_leaves_no_run_behind(run_flow, tiny_platform, events):
    with pytest.raises(Exception, match="no pipeline 'payment'"):
        run_flow(tiny, "payment")

    assert tiny_platform.records.pipelines() == ()


@pytest.mark.prefect
def test_under_prefect_a_transient_failure_is_tried_again(prefect_api, tiny_platform, events):
    from pynomaly_flows.deployable import as_flow

    faults.append(ConnectionResetError("peer went away"))

    document = as_flow(tiny)("payments")

    assert calls == ["read", "add", "add"]
    assert document["steps"]["add"] == {"total": 7}


@pytest.mark.prefect
def test_under_prefect_a_run_taken_up_again_skips_its_finished_steps(
    prefect_api, tiny_platform, events
):
    from pynomaly_flows.deployable import as_flow

    flow = as_flow(tiny)
    faults.append(SourceNotFoundError("not there yet"))
    with pytest.raises(SourceNotFoundError):
        flow("payments")
    (run,) = tiny_platform.records.runs("payments")
    calls.clear()
    events.clear()

    document = flow("payments", run_id=run.id)

    assert calls == ["add"]
    assert [(e.kind, e.step) for e in events][:2] == [("reused", "read"), ("started", "add")]
    assert document["status"] == "completed"
    assert document["steps"] == {"read": {"rows": 3}, "add": {"total": 7}}


@pytest.mark.prefect
def test_under_prefect_a_new_run_computes_everything_anew(prefect_api, tiny_platform, events):
    from pynomaly_flows.deployable import as_flow

    as_flow(tiny)("payments")
    as_flow(tiny)("payments")

    assert calls == ["read", "add", "read", "add"]


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (TimeoutError(), True),
        (ConnectionRefusedError(), True),
        (OSError("input/output error"), True),
        (FileNotFoundError(), False),
        (PermissionError(), False),
        (ValueError(), False),
        (SourceNotFoundError("x"), False),
        (IntegrityError("x"), False),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, Exception) else str(x),
)
def test_only_input_and_output_may_succeed_the_second_time(error, again):
    assert transient(error) is again


def test_lost_connections_of_databases_and_object_stores_are_transient():
    from botocore.exceptions import EndpointConnectionError, NoCredentialsError
    from sqlalchemy.exc import OperationalError, ProgrammingError

    assert transient(EndpointConnectionError(endpoint_url="http://x"))
    assert transient(OperationalError("select", {}, Exception()))
    assert not transient(NoCredentialsError())
    assert not transient(ProgrammingError("select", {}, Exception()))


def test_an_adapter_s_error_is_tried_again_only_if_its_cause_may_pass(tmp_path):
    from pynomaly.infrastructure.sqlalchemy.records import SqlRecords

    with pytest.raises(PynomalyError) as unreachable:
        SqlRecords("postgresql://nobody@127.0.0.1:9/none").pipelines()
    assert transient(unreachable.value)

    (tmp_path / "file").write_text("")
    with pytest.raises(PynomalyError) as lasting:
        SqlRecords(f"sqlite:///{tmp_path}/file/x.db").pipelines()
    assert not transient(lasting.value)
    assert not transient(MalformedSourceError("a.csv is empty"))
