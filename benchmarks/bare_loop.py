"""The bare loop: insert a row, commit, again, for so many seconds; prints how often. What a `session` handler is held against."""

import sys
import time

import psycopg2

from benchmarks.stage import current

INSERT = "INSERT INTO effect (order_id, amount) VALUES (%s, %s)"


def loop(seconds: float) -> int:
    """Insert and commit for *seconds*; how often that was."""
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


if __name__ == "__main__":
    print(loop(float(sys.argv[1])))
