"""kill -9 at every statement of a promotion and of a rollback: one release serves, never none."""

import subprocess
import sys
from datetime import UTC, datetime
from functools import partial

import pytest

from pynomaly.application.reconcile import ReconcileRegistry
from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.domain.runs import Actor
from pynomaly.domain.transitions import begin
from pynomaly.infrastructure.sqlalchemy.records import SqlRecords
from pynomaly.testing import InMemoryRegistry

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ADA = Actor("ada")

DIES_AT = """
import os, signal, sys
from datetime import UTC, datetime
from functools import partial
import sqlalchemy as sa
from pynomaly.domain.rollbacks import roll_back
from pynomaly.domain.runs import Actor
from pynomaly.domain.transitions import begin
from pynomaly.infrastructure.sqlalchemy.records import SqlRecords

url, act, left = sys.argv[1], sys.argv[2], int(sys.argv[3])

def tick(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
    sa.event.listen(sa.Engine, moment, tick)
given = dict(actor=Actor("ada"), at=datetime.now(UTC))
rule = {
    "promote": partial(begin, release_id="release-3", manifest_digest="d", **given),
    "roll_back": partial(
        roll_back, pipeline="p", to=None, from_="release-2", reason="bad", **given
    ),
}[act]
SqlRecords(url).move("p", rule)
print("done")
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


@pytest.mark.parametrize(("act", "before", "after"), [("promote", 2, 3), ("roll_back", 2, 1)])
def test_a_kill_at_any_statement_leaves_the_old_or_the_new_release(act, before, after, tmp_path):
    seen = []
    for moment in range(1, 100):
        url = f"sqlite:///{tmp_path}/{moment}.db"
        records = served_twice(url)
        done = subprocess.run(
            [sys.executable, "-c", DIES_AT, url, act, str(moment)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
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
        if done.returncode == 0:
            assert serving.version == after
            break
        assert done.returncode == -9, done.stderr
    else:
        pytest.fail("it never got to its end")
    assert len(seen) > 8
    # Old until the commit, new from then on, and nothing in between.
    assert seen == sorted(seen, key=lambda version: version == after)
    assert seen[0] == before
