"""Run by Alembic inside the transaction that ``ensure_schema`` holds."""

from alembic import context

from pynomaly.infrastructure.sqlalchemy import ledger_tables  # noqa: F401  # of the same metadata
from pynomaly.infrastructure.sqlalchemy.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # Alembic assumes SQLite cannot roll DDL back; it can, as we begin transactions ourselves.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
