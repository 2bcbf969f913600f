"""Alembic's environment: runs inside the transaction that `upgrade` opened."""

from alembic import context

connection = context.config.attributes["connection"]
schema = context.config.attributes["schema"]

context.configure(connection=connection, version_table_schema=schema, transaction_per_migration=False)
context.run_migrations()
