"""What PostgreSQL itself says about the tables in a schema, without their partitions."""

from typing import Any

from tests.support.rows import Rows

_OURS = """
FROM pg_class AS r WHERE r.relnamespace = %s::regnamespace AND NOT r.relispartition AND r.relname <> 'alembic_version'
AND r.relkind IN ('r', 'p')
"""
COLUMNS = f"""
SELECT r.relname, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,
       pg_get_expr(d.adbin, d.adrelid)
FROM (SELECT r.oid, r.relname {_OURS}) AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0
LEFT JOIN pg_attrdef AS d ON d.adrelid = r.oid AND d.adnum = a.attnum ORDER BY 1, 3
"""
CONSTRAINTS = f"""
SELECT r.relname, c.conname, c.contype::text, pg_get_constraintdef(c.oid)
FROM (SELECT r.oid, r.relname {_OURS}) AS r JOIN pg_constraint AS c ON c.conrelid = r.oid AND c.contype <> 'n' ORDER BY 1, 2
"""
INDEXES = f"""
SELECT r.relname, pg_get_indexdef(i.indexrelid)
FROM (SELECT r.oid, r.relname {_OURS}) AS r JOIN pg_index AS i ON i.indrelid = r.oid ORDER BY 1, 2
"""
PARTITIONING = f"SELECT r.relname, r.relkind::text, pg_get_partkeydef(r.oid) {_OURS} ORDER BY 1"


def describe(rows: Rows, schema: str = "eventbus") -> dict[str, list[tuple[Any, ...]]]:
    """Columns, constraints, indexes and partitioning, in PostgreSQL's own words."""
    rows.all(f"SET search_path TO {schema}")
    questions = {"columns": COLUMNS, "constraints": CONSTRAINTS, "indexes": INDEXES, "partitioning": PARTITIONING}
    return {
        name: [
            tuple(item.replace(f"{schema}.", "") if isinstance(item, str) else item for item in row)
            for row in rows.all(question, schema)
        ]
        for name, question in questions.items()
    }
