"""Schemas: every version of every event type, as JSON Schema.

The document is ``json``, not ``jsonb``: its fingerprint is taken of the text's values, and jsonb would rewrite some numbers and
refuse some texts. ``revision`` rises with every change, so that a process sees with one look whether anything is new.
"""

from alembic import context, op

revision = "0006"
down_revision = "0005"

EVENT_SCHEMA = """
CREATE TABLE eventbus.event_schema (
    type text NOT NULL,
    version integer NOT NULL,
    json_schema json NOT NULL,
    wire_fingerprint text NOT NULL,
    text_fingerprint text NOT NULL,
    compatibility text NOT NULL,
    owner text,
    description text,
    deprecation text,
    changelog text,
    accepted jsonb NOT NULL DEFAULT '[]',
    registered_by text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at timestamptz,
    revision bigint NOT NULL,
    CONSTRAINT event_schema_pkey PRIMARY KEY (type, version),
    CONSTRAINT event_schema_type_check CHECK (length(type) BETWEEN 1 AND 200),
    CONSTRAINT event_schema_version_check CHECK (version > 0),
    CONSTRAINT event_schema_document_check CHECK (json_typeof(json_schema) = 'object'),
    CONSTRAINT event_schema_fingerprint_check CHECK (length(wire_fingerprint) = 64 AND length(text_fingerprint) = 64),
    CONSTRAINT event_schema_compatibility_check CHECK (
        compatibility IN ('BACKWARD', 'FORWARD', 'FULL', 'BACKWARD_TRANSITIVE', 'FORWARD_TRANSITIVE', 'FULL_TRANSITIVE', 'NONE')),
    CONSTRAINT event_schema_accepted_check CHECK (jsonb_typeof(accepted) = 'array'),
    CONSTRAINT event_schema_revision_key UNIQUE (revision)
);
"""


def upgrade() -> None:
    """Create the table in the schema that `eventbus migrate` was told."""
    schema = context.config.attributes["schema"]
    op.get_bind().exec_driver_sql(EVENT_SCHEMA.replace("eventbus.", f"{schema}."))
