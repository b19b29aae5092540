"""Real processes at the same records database at the same time."""

import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial

import pytest
import sqlalchemy as sa

from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.domain.runs import Actor
from pynomaly.domain.transitions import begin
from pynomaly.infrastructure.sqlalchemy.records import SqlRecords

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

START_TOGETHER = """
import sys, time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from pynomaly.domain.errors import PynomalyError
from pynomaly.domain.runs import Actor, Run, StepRecord
from pynomaly.infrastructure.sqlalchemy.records import SqlRecords

url, folder, name = sys.argv[1:]
records = SqlRecords(url)
{prepare}
Path(folder, f"{{name}}.ready").touch()
while not Path(folder, "go").exists():
    time.sleep(0.001)
try:
    {work}
except PynomalyError as error:
    print(type(error).__name__)
else:
    print("done")
"""


def together(url, folder, names, *, prepare="", work):
    """Run ``work`` in a process per name, all from the same moment; returns what they say."""
    code = START_TOGETHER.format(prepare=prepare, work=work)
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, url, str(folder), name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    deadline = time.monotonic() + 90
    while len(list(folder.glob("*.ready"))) < len(names) and time.monotonic() < deadline:
        assert all(process.poll() is None for process in processes), processes[0].communicate()
        time.sleep(0.01)
    (folder / "go").touch()
    answers = [process.communicate(timeout=90) for process in processes]
    assert [error for _, error in answers if error] == []
    return Counter(answer.strip() for answer, _ in answers)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    if request.param == "postgres":
        return request.getfixturevalue("empty_postgres_database")
    return f"sqlite:///{tmp_path}/pynomaly.db"


def test_of_eight_promotions_against_one_champion_exactly_one_wins(url, tmp_path):
    records = SqlRecords(url)
    for number in range(1, 10):
        records.add_version(ModelVersion("payments", number, "u", "d", "r", "t", "f", "h", NOW))
        champion = 1 if number > 1 else None
        release = Release(
            f"release-{number}", "r", "payments", number, champion, "candidate", "pass", (), NOW
        )
        records.add_release(release)
        if number == 1:
            records.move(
                "payments",
                partial(
                    begin, release_id="release-1", actor=Actor("ada"), at=NOW, manifest_digest="d"
                ),
            )

    answers = together(
        url,
        tmp_path,
        [f"release-{number}" for number in range(2, 10)],
        prepare="from functools import partial; from pynomaly.domain.transitions import begin",
        work="records.move('payments', partial(begin, release_id=name, actor=Actor('ada'), at=datetime.now(UTC), manifest_digest='d'))",
    )

    assert answers == {"done": 1, "ConflictError": 7}
    states = Counter(release.state for release in records.releases("payments"))
    assert states == {"production": 1, "superseded": 1, "candidate": 7}
    serving = records.production("payments")
    assert (serving.champion, serving.fence) == (1, 3)
    assert records.release("release-1").state == "superseded"


def test_four_writers_never_find_the_database_locked(url, tmp_path):
    answers = together(
        url,
        tmp_path,
        ["a", "b", "c", "d"],
        prepare="now, actor = datetime.now(UTC), Actor('ada')",
        work="""for n in range(25):
        run = Run(f"{name}-{n}", "payments", "run", "direct", actor, "running", now)
        records.start_run(run)
        records.add_step(StepRecord(run.id, "validate", "completed", now, now, {"n": n}))
        records.runs("payments")
        records.finish_run(run)""",
    )
    assert answers == {"done": 4}
    records = SqlRecords(url)
    assert len(records.runs("payments", 1_000)) == 100
    assert all(len(records.steps(f"{name}-{n}")) == 1 for name in "abcd" for n in range(25))


def test_processes_that_start_at_once_on_an_empty_database_share_one_migration(url, tmp_path):
    answers = together(
        url,
        tmp_path,
        [str(n) for n in range(4)],
        # Imported before, so that the migrations themselves overlap.
        prepare="import alembic.command, alembic.config",
        work="records.pipelines()",
    )
    assert answers == {"done": 4}
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        revisions = connection.exec_driver_sql("SELECT version_num FROM alembic_version").all()
    assert len(revisions) == 1
