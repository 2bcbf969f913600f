"""Grants: what each kind of user of the bus may do in PostgreSQL, and nothing more.

    publisher ◀─ worker        records events; and handles them
    viewer    ◀─ operator      looks at everything; and changes what an operator changes

The owner of the tables migrates them, and makes partitions.
"""

from collections.abc import Sequence

from eventbus.storage import monitoring_tables, operations_tables, tables

#: What a role is for, the role that it includes, and what it may do to which tables.
_ROLES: dict[str, tuple[str, str | None, dict[str, Sequence[str]]]] = {
    "publisher": (
        "records events; sees them, but not what became of them",
        None,
        {
            "SELECT": ("alembic_version", "subscription", "event_log", "publish_key", "event_schema"),
            "SELECT (event_id, group_name)": ("delivery",),
            "INSERT": ("event_log", "delivery", "publish_key"),
            # A key whose time is over is locked, and gives way.
            "UPDATE, DELETE": ("publish_key",),
        },
    ),
    "worker": (
        "declares subscriptions, handles deliveries, keeps house; publishes, as handlers do",
        "publisher",
        {
            "SELECT": ("*",),
            "INSERT, UPDATE": (
                *("consumer_group", "subscription", "event_schema", "delivery", "attempt", "dead_letter", "repair"),
                *("worker", "traffic", "traffic_total", "traffic_tally", "traffic_span", "fingerprint", "alert"),
                *("run_tally", "run_duration", "run_minute"),
            ),
            "DELETE": ("worker", "traffic", "traffic_tally", "traffic_span", "alert", "run_tally", "run_minute"),
        },
    ),
    "viewer": ("looks at everything, changes nothing", None, {"SELECT": ("*",)}),
    "operator": (
        "pauses, resumes and removes groups; retries, discards and restores dead letters; replays; counts anew",
        "viewer",
        {
            "UPDATE": ("consumer_group", "subscription", "dead_letter", "fingerprint", "replay", "audit"),
            "INSERT": ("replay", "audit"),
            "INSERT, UPDATE": ("delivery", "event_schema"),
            "INSERT, UPDATE, DELETE": ("traffic", "traffic_total", "traffic_tally", "traffic_span"),
        },
    ),
}
ROLES = tuple(_ROLES)


def describe(roles: Sequence[str], *, schema: str, prefix: str) -> str:
    """The statements that make *roles*, and those that they include, and give them what they need; safe to run again.

    Args:
        roles: Some of `ROLES`.
        prefix: Roles are called ``<prefix>_<role>``.
    """
    included = {other for role in roles if (other := _ROLES[role][1]) is not None}
    wanted = [role for role in ROLES if role in {*roles, *included}]
    return "\n".join(line for role in wanted for line in _lines(role, schema=schema, prefix=prefix))


def _lines(role: str, *, schema: str, prefix: str) -> Sequence[str]:
    purpose, included, privileges = _ROLES[role]
    name = f'"{prefix}_{role}"'
    return [
        f"-- {role}: {purpose}.",
        f"DO $$ BEGIN CREATE ROLE {name} NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;",
        *([f'GRANT "{prefix}_{included}" TO {name};'] if included else []),
        f"GRANT USAGE ON SCHEMA {schema} TO {name};",
        *(_grant(what, on, schema=schema, name=name) for what, on in privileges.items()),
        "",
    ]


def _grant(what: str, on: Sequence[str], *, schema: str, name: str) -> str:
    if "*" in on:
        return f"GRANT {what} ON ALL TABLES IN SCHEMA {schema} TO {name};"
    listed = ", ".join(f"{schema}.{table}" for table in on if table in _KNOWN)
    return f"GRANT {what} ON {listed} TO {name};"


_KNOWN = {
    "alembic_version",
    *(
        table.name
        for module in (tables, monitoring_tables, operations_tables)
        for table in module.metadata.tables.values()
    ),
}
