"""The tables of the sample services, in a schema of their own: what was really done can be counted there.

python -m workers.tables
"""

import os
import sys

import sqlalchemy
from sqlalchemy import Column, DateTime, MetaData, Numeric, Table, Text, Uuid, func

from eventbus.errors import ConfigurationError
from eventbus.settings import load_settings

metadata = MetaData(schema="sample")


def _effects(name: str, *columns: Column[object]) -> Table:
    """A table that notes which event was handled; without a unique key, so that a second time would show."""
    seen = Column("handled_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp())
    return Table(name, metadata, Column("event_id", Uuid, nullable=False, index=True), *columns, seen)


reservation = _effects("reservation", Column("order_id", Text, nullable=False))
email = _effects("email", Column("address", Text, nullable=False))
sale = _effects("sale", Column("order_id", Text, nullable=False), Column("amount", Numeric, nullable=False))


def create(database_url: str) -> None:
    """Create what is missing in the database at *database_url*."""
    engine = sqlalchemy.create_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305808869231650145)")
        connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS sample")
        metadata.create_all(connection)
    engine.dispose()


if __name__ == "__main__":
    try:
        create(load_settings({}, os.environ).database_url)
    except ConfigurationError as error:
        sys.exit(f"workers.tables: {error}")
