"""kill -9 at every statement of a promotion and of a rollback: one release serves, never none."""

import gc
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from itertools import count
from subprocess import PIPE

import pytest
import sqlalchemy as sa

from pynomaly.application.reconcile import ReconcileRegistry
from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.domain.runs import Actor
from pynomaly.domain.transitions import begin
from pynomaly.infrastructure.sqlalchemy.records import SqlRecords
from pynomaly.testing import InMemoryRegistry

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ADA = Actor("ada")

# Reads "<url> <act> <statement>" lines and answers each with how a process of its own ended that
# was killed at that statement: of what takes long, the imports, there is one.
DIES_AT = """
import os, signal, sys
from datetime import UTC, datetime
from functools import partial
import sqlalchemy as sa
from pynomaly.domain.rollbacks import roll_back
from pynomaly.domain.runs import Actor
from pynomaly.domain.transitions import begin
from pynomaly.infrastructure.sqlalchemy.records import SqlRecords

def die_at(url, act, left):
    def tick(*_):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
        sa.event.listen(sa.Engine, moment, tick)
    sa.event.listen(sa.pool.Pool, "reset", tick)  # also what comes after a commit
    given = dict(actor=Actor("ada"), at=datetime.now(UTC))
    rule = {
        "promote": partial(begin, release_id="release-3", manifest_digest="d", **given),
        "roll_back": partial(
            roll_back, pipeline="p", to=None, from_="release-2", reason="bad", **given
        ),
    }[act]
    SqlRecords(url).move("p", rule)

for line in sys.stdin:
    url, act, moment = line.split()
    child = os.fork()
    if child == 0:
        try:
            die_at(url, act, int(moment))
            os._exit(0)
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def served_twice(url: str) -> SqlRecords:
    """Records in which version 2 serves after version 1, and version 3 is a candidate."""
    records = SqlRecords(url)
    for number in (1, 2, 3):
        records.add_version(ModelVersion("p", number, "u", "d", "r", "t", "f", "h", NOW))
        champion = number - 1 or None
        records.add_release(
            Release(f"release-{number}", "r", "p", number, champion, "candidate", "pass", (), NOW)
        )
        if number < 3:
            records.move(
                "p",
                partial(
                    begin, release_id=f"release-{number}", actor=ADA, at=NOW, manifest_digest="d"
                ),
            )
    return records


class AnyVersion(InMemoryRegistry):
    """Holds every version without its folder."""

    def holds(self, pipeline, version):
        return True

    def tag(self, pipeline, version, tags):
        pass

    def set_alias(self, pipeline, alias, version):
        self._aliases[pipeline, alias] = version


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def copies(request, tmp_path_factory):
    """Function that copies a database with records as of :func:`served_twice`; returns its URL."""
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("records")
        served_twice(f"sqlite:///{folder}/original.db")
        paths = (folder / f"{n}.db" for n in count())
        return lambda: f"sqlite:///{shutil.copy(folder / 'original.db', next(paths))}"
    make = request.getfixturevalue("empty_postgres_databases")
    original = make()
    served_twice(original)
    gc.collect()  # PostgreSQL copies no database that somebody is connected to
    return partial(make, template=sa.make_url(original).database)


@pytest.fixture(scope="module")
def killer():
    """Function that carries out an act until a statement of it; returns how it ended."""
    with subprocess.Popen(
        [sys.executable, "-c", DIES_AT], stdin=PIPE, stdout=PIPE, text=True
    ) as process:

        def kill(url, act, moment):
            print(url, act, moment, file=process.stdin, flush=True)
            return int(process.stdout.readline())

        yield kill
        process.stdin.close()


@pytest.mark.parametrize(("act", "before", "after"), [("promote", 2, 3), ("roll_back", 2, 1)])
def test_a_kill_at_any_statement_leaves_the_old_or_the_new_release(
    act, before, after, tmp_path, copies, killer
):
    seen = []
    for moment in range(1, 100):
        url = copies()
        ended = killer(url, act, moment)
        records = SqlRecords(url)
        serving = records.production("p")
        seen.append(serving.version)
        states = [release.state for release in records.releases("p")]
        assert states.count("production") == 1
        assert [event.fence for event in records.events("p")] == list(
            range(1, len(records.events("p")) + 1)
        )
        # Whatever it was, the registry ends up saying the same, and a repetition completes it.
        registry = AnyVersion(tmp_path)
        ReconcileRegistry(records, registry)("p")
        assert registry.aliases("p")["production"] == serving.version
        if ended == 0:
            assert serving.version == after
            break
        assert ended == -9
    else:
        pytest.fail("it never got to its end")
    assert len(seen) > 8
    # Old until the commit, new from then on, and nothing in between.
    assert seen == sorted(seen, key=lambda version: version == after)
    assert (seen[0], seen[-2]) == (before, after)
