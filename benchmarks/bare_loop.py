"""The bare loop: insert a row, commit, again, for so many seconds; prints how often. What a `session` handler is held against.

Either by the driver alone, or by the statement and session of the handler, as one would write it without a bus.
"""

import sys
import time

import psycopg2
import sqlalchemy
from sqlalchemy.orm import Session

from benchmarks.stage import current

INSERT = "INSERT INTO effect (order_id, amount) VALUES (%s, %s)"
NAMED = sqlalchemy.text("INSERT INTO effect (order_id, amount) VALUES (:id, :amount)")


def loop(seconds: float) -> int:
    """Insert and commit for *seconds*, by the driver; how often that was."""
    connection = psycopg2.connect(current().database_url)
    cursor = connection.cursor()
    ends = time.monotonic() + seconds
    count = 0
    while time.monotonic() < ends:
        cursor.execute(INSERT, (f"o-{count:08}", "44.80"))
        connection.commit()
        count += 1
    connection.close()
    return count


def loop_in_sessions(seconds: float) -> int:
    """The same with a session of SQLAlchemy for each row."""
    engine = sqlalchemy.create_engine(current().database_url.replace("postgresql://", "postgresql+psycopg2://"))
    ends = time.monotonic() + seconds
    count = 0
    while time.monotonic() < ends:
        with Session(engine) as session:
            session.execute(NAMED, {"id": f"o-{count:08}", "amount": "44.80"})
            session.commit()
        count += 1
    engine.dispose()
    return count


LOOPS = {"loop": loop, "session_loop": loop_in_sessions}

if __name__ == "__main__":
    print(LOOPS[sys.argv[1]](float(sys.argv[2])))
