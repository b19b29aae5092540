"""Our tables appear by themselves, exactly as declared, and never in somebody else's database."""

import shutil
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import partial

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from pynomaly.domain.canaries import judge
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.rollbacks import roll_back
from pynomaly.domain.rollouts import RolloutPolicy, plan_rollout
from pynomaly.domain.runs import Actor
from pynomaly.infrastructure.sqlalchemy.ledger import SqlLedger
from pynomaly.infrastructure.sqlalchemy.records import SqlRecords
from pynomaly.infrastructure.sqlalchemy.schema import HEAD, MIGRATIONS
from pynomaly.infrastructure.sqlalchemy.tables import metadata

pytestmark = pytest.mark.integration


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_databases(request, tmp_path):
    """Function that makes an empty database and returns its URL."""
    if request.param == "postgres":
        return request.getfixturevalue("empty_postgres_databases")
    paths = (tmp_path / f"{n}.db" for n in range(9))
    return lambda: f"sqlite:///{next(paths)}"


@pytest.fixture
def url(empty_databases):
    return empty_databases()


def engine(url):
    return sa.create_engine(url, poolclass=sa.NullPool)


def execute(url, *statements):
    with engine(url).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def definitions(url):
    """Every column, constraint and index as the database itself tells it, in no order.

    A column that a migration added stands behind the constraints in SQLite's own spelling.
    """
    tables = (
        "sqlite_master AS t, {}(t.name) AS c WHERE t.type = 'table' AND t.name <> 'alembic_version'"
    )
    queries = {
        "sqlite": [
            "SELECT sql FROM sqlite_master WHERE type <> 'table' AND sql IS NOT NULL",
            'SELECT t.name, c.name, c.type, c."notnull", c.dflt_value, c.pk FROM '
            + tables.format("pragma_table_info"),
            'SELECT t.name, c."table", c."from", c."to", c.seq FROM '
            + tables.format("pragma_foreign_key_list"),
            'SELECT t.name, c.name, c."unique", c.origin, c.partial FROM '
            + tables.format("pragma_index_list"),
        ],
        "postgresql": [
            "SELECT table_name, column_name, data_type, is_nullable, "
            "column_default FROM information_schema.columns WHERE table_schema = 'public' "
            "AND table_name <> 'alembic_version'",
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' "
            "AND tablename <> 'alembic_version'",
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace "
            "AND conrelid IS DISTINCT FROM to_regclass('alembic_version')",
        ],
    }
    with engine(url).connect() as connection:
        return {
            " ".join(str(tuple(row)).split())
            for query in queries[connection.dialect.name]
            for row in connection.exec_driver_sql(query)
        }


def test_first_use_creates_the_tables(url):
    assert SqlRecords(url).pipelines() == ()
    with engine(url).connect() as connection:
        assert set(sa.inspect(connection).get_table_names()) == {
            *metadata.tables,
            "alembic_version",
        }


def test_alembic_finds_no_difference_between_migrations_and_declared_tables(url):
    SqlRecords(url).pipelines()
    with engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_database_sees_no_difference_either(empty_databases):
    # Alembic overlooks the condition of partial indexes, among others.
    migrated, declared = empty_databases(), empty_databases()
    SqlRecords(migrated).pipelines()
    metadata.create_all(engine(declared))
    execute(declared, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    assert definitions(migrated) == definitions(declared)
    assert any("'production'" in definition for definition in definitions(migrated))


def test_the_known_head_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_a_current_database_costs_less_than_50_ms(url):
    SqlRecords(url).pipelines()

    def first_use():
        began = time.perf_counter()
        SqlRecords(url).pipelines()
        return time.perf_counter() - began

    assert min(first_use() for _ in range(5)) < 0.05


def test_a_current_database_does_not_import_alembic(url):
    SqlRecords(url).pipelines()
    code = (
        "import sys; from pynomaly.infrastructure.sqlalchemy.records import SqlRecords; "
        "SqlRecords(sys.argv[1]).pipelines(); sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, url], check=True)


def test_an_older_schema_is_upgraded_and_keeps_its_rows(url, monkeypatch, tmp_path):
    SqlRecords(url).pipelines()
    execute(
        url,
        "INSERT INTO model_versions VALUES "
        "('payments', 1, 'u', 'd', 'r', 't', 'f', 'h', '2026-11-23 12:00:00')",
    )
    # The release after this one adds a column.
    newer = f"{int(HEAD) + 1:04}"
    migrations = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, migrations)
    (migrations / "versions" / f"{newer}_note.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, down_revision = {newer!r}, {HEAD!r}\n"
        "def upgrade(): op.add_column('model_versions', sa.Column('note', sa.Text))\n"
    )
    schema = "pynomaly.infrastructure.sqlalchemy.schema"
    monkeypatch.setattr(f"{schema}.HEAD", newer)
    monkeypatch.setattr(f"{schema}.MIGRATIONS", migrations)
    assert SqlRecords(url).pipelines() == ()
    with engine(url).connect() as connection:
        found = connection.exec_driver_sql("SELECT version, note FROM model_versions").one()
        assert tuple(found) == (1, None)
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
        assert revision.scalar_one() == newer


def test_releases_of_old_can_be_rolled_back(url, monkeypatch, tmp_path):
    migrations = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, migrations)
    for later in (migrations / "versions").glob("*.py"):
        if later.name > "0003":
            later.unlink()
    at = "'2026-11-23 12:00:00'"
    with monkeypatch.context() as patch:
        patch.setattr("pynomaly.infrastructure.sqlalchemy.schema.HEAD", "0002")
        patch.setattr("pynomaly.infrastructure.sqlalchemy.schema.MIGRATIONS", migrations)
        SqlRecords(url).pipelines()
    states = {1: "superseded", 2: "superseded", 3: "blocked", 4: "production"}
    for number, state in states.items():
        fence = 0 if state == "blocked" else number
        execute(
            url,
            f"INSERT INTO model_versions VALUES "
            f"('payments', {number}, 'u', 'd', 'r', 't', 'f', 'h', {at})",
            "INSERT INTO releases (id, run_id, pipeline, version, champion, state, verdict, gates, "
            f"created_at, promoted_at, fence) VALUES ('r{number}', 'run', 'payments', {number}, "
            f"NULL, '{state}', 'pass', '[]', {at}, NULL, {fence})",
        )

    records = SqlRecords(url)

    assert records.production("payments").id == "r4"
    restored = []
    for _ in range(2):
        serving = records.production("payments").id
        rule = partial(
            roll_back, pipeline="payments", actor=Actor("ada"), at=datetime.now(UTC), to=None,
            from_=serving, reason="odd",
        )  # fmt: skip
        restored.append(records.move("payments", rule)[0].id)
    assert restored == ["r2", "r1"]

    # What a rollout saw before rows were taken in groups is still told, and proves nothing.
    pairs = '{"both": 4, "challenger": 900, "champion": 6}'
    seen = f'{{"rows": 5000, "answered": 9, "errors": 0, "alerts": {pairs}, "tail": {pairs}}}'
    execute(url, f"INSERT INTO release_observations VALUES ('r4', 0, 'a', '{seen}')")
    observed = records.observed("r4", 0)
    assert (observed.rows, observed.alerts.challenger) == (5000, 900)
    rollout = plan_rollout(RolloutPolicy(), "5a17", to="production", first=False)
    assert judge(observed, rollout).verdict == "hold"


def test_a_migration_that_fails_half_way_leaves_nothing_behind(url, monkeypatch, tmp_path):
    migrations = tmp_path / "migrations"
    (migrations / "versions").mkdir(parents=True)
    (migrations / "env.py").write_text((MIGRATIONS / "env.py").read_text())
    original = (MIGRATIONS / "versions" / "0001_records.py").read_text()
    (migrations / "versions" / "0001_records.py").write_text(
        original + "    raise RuntimeError('power cut')\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr("pynomaly.infrastructure.sqlalchemy.schema.MIGRATIONS", migrations)
        with pytest.raises(RuntimeError, match="power cut"):
            SqlRecords(url).pipelines()
    with engine(url).connect() as connection:
        assert sa.inspect(connection).get_table_names() == []
    assert SqlRecords(url).pipelines() == ()


def test_a_newer_schema_is_left_alone(url):
    SqlRecords(url).pipelines()
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match=r"(?s)revision 9999.*upgrade this installation"):
        SqlRecords(url).pipelines()


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE customers (id INTEGER)"],
        # MLflow's: has tables called like some of ours.
        [
            "CREATE TABLE runs (run_uuid TEXT)",
            "CREATE TABLE alembic_version (version_num TEXT)",
            "INSERT INTO alembic_version VALUES ('0a1b2c3d4e5f')",
        ],
        # Somebody who numbers revisions as we do.
        [
            "CREATE TABLE customers (id INTEGER)",
            "CREATE TABLE alembic_version (version_num TEXT)",
            f"INSERT INTO alembic_version VALUES ('{HEAD}')",
        ],
    ],
    ids=["other tables", "mlflow", "same revision"],
)
def test_a_foreign_database_is_left_alone(url, statements):
    execute(url, *statements)
    before = definitions(url)
    with pytest.raises(ConfigurationError, match="not a Pynomaly records database"):
        SqlRecords(url).pipelines()
    assert definitions(url) == before


def test_a_foreign_sqlite_file_keeps_every_byte(tmp_path):
    path = tmp_path / "theirs.db"
    execute(f"sqlite:///{path}", "CREATE TABLE customers (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="it already holds the table 'customers'"):
        SqlRecords(f"sqlite:///{path}").pipelines()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["theirs.db"]


def test_sqlite_files_are_durable_and_let_readers_beside_the_writer(tmp_path):
    path = tmp_path / "pynomaly.db"
    records = SqlRecords(f"sqlite:///{path}")
    records.pipelines()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    with records._database.write() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("foreign_keys", "synchronous", "busy_timeout")
        }
        assert settings == {"foreign_keys": 1, "synchronous": 2, "busy_timeout": 30_000}
        assert records.pipelines() == ()  # while the writer is at work


def test_records_of_the_first_schema_get_the_ledger(url, monkeypatch, tmp_path):
    first = tmp_path / "first"
    shutil.copytree(MIGRATIONS, first)
    for later in (first / "versions").glob("000[2-9]*.py"):
        later.unlink()
    schema = "pynomaly.infrastructure.sqlalchemy.schema"
    with monkeypatch.context() as before:
        before.setattr(f"{schema}.HEAD", "0001")
        before.setattr(f"{schema}.MIGRATIONS", first)
        SqlRecords(url).pipelines()
        with engine(url).connect() as connection:
            assert not sa.inspect(connection).has_table("score_jobs")
    assert SqlLedger(url).jobs("payments") == ()
    assert SqlRecords(url).pipelines() == ()
