"""Idempotency keys: which event of a source holds a key, and a function that takes keys for a batch or refuses it.

`take_keys` runs inside the statement that records the events. Each of its own statements sees what others have committed
meanwhile, and its lock_timeout ends with it, so neither outlives it in a connection that a proxy shares.
"""

from alembic import context, op

revision = "0003"
down_revision = "0002"

TABLE = """
CREATE TABLE eventbus.publish_key (
    source text NOT NULL,
    key text NOT NULL,
    event_id uuid NOT NULL,
    digest bytea NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT publish_key_pkey PRIMARY KEY (source, key),
    CONSTRAINT publish_key_key_check CHECK (length(key) BETWEEN 1 AND 200),
    CONSTRAINT publish_key_digest_check CHECK (octet_length(digest) = 32)
);
CREATE INDEX publish_key_created_idx ON eventbus.publish_key (created_at);
"""

TAKE = """
CREATE FUNCTION eventbus.take_keys(
    sources text[], keys text[], digests bytea[], ids uuid[], at timestamptz, kept interval, patience text
) RETURNS TABLE (id uuid, holder uuid, refusal text)
LANGUAGE plpgsql SET lock_timeout = '3s' AS $$
-- One row for each key with its holder: the id that was given, if the key was free. Or rows with a refusal, and no key is taken:
--   conflict  the holder was recorded with another digest
--   busy      another transaction that uses the key did not end within the caller's patience
--   unseen    its holder was committed after the snapshot of this REPEATABLE READ transaction
--   outdated  the same of a SERIALIZABLE one, which may not know anything that its snapshot does not
#variable_conflict use_column
DECLARE
    inserted integer;
BEGIN
    PERFORM set_config('lock_timeout', patience, true);
    LOOP
        -- In key order, so that two batches with the same keys wait for each other, and not in a circle.
        INSERT INTO eventbus.publish_key (source, key, event_id, digest, created_at)
        SELECT wanted.source, wanted.key, wanted.id, wanted.digest, take_keys.at
        FROM unnest(sources, keys, ids, digests) AS wanted (source, key, id, digest)
        ORDER BY wanted.source COLLATE "C", wanted.key COLLATE "C"
        ON CONFLICT (source, key) DO NOTHING;
        GET DIAGNOSTICS inserted = ROW_COUNT;
        IF inserted = cardinality(ids) THEN
            RETURN QUERY SELECT mine, mine, NULL FROM unnest(ids) AS mine;
            RETURN;
        END IF;
        -- A key ends with its time, or with its event: then it is free, whether or not somebody has tidied up.
        WITH stale AS (
            SELECT held.source, held.key
            FROM eventbus.publish_key AS held
            JOIN unnest(sources, keys, ids) AS wanted (source, key, id) ON held.source = wanted.source AND held.key = wanted.key
            WHERE held.event_id <> wanted.id AND (
                held.created_at < take_keys.at - kept
                OR NOT EXISTS (SELECT FROM eventbus.event_log AS event WHERE event.id = held.event_id))
            ORDER BY held.source COLLATE "C", held.key COLLATE "C"
            FOR UPDATE OF held
        )
        DELETE FROM eventbus.publish_key AS held USING stale WHERE held.source = stale.source AND held.key = stale.key;
        EXIT WHEN NOT FOUND;
    END LOOP;
    PERFORM FROM unnest(sources, keys, digests) AS wanted (source, key, digest)
    LEFT JOIN eventbus.publish_key AS held ON held.source = wanted.source AND held.key = wanted.key
    WHERE held.digest IS DISTINCT FROM wanted.digest;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'EB001';
    END IF;
    RETURN QUERY SELECT wanted.id, held.event_id, NULL
    FROM unnest(sources, keys, ids) AS wanted (source, key, id)
    JOIN eventbus.publish_key AS held ON held.source = wanted.source AND held.key = wanted.key;
EXCEPTION
    -- What was taken is given back, and the caller's transaction lives on.
    WHEN SQLSTATE 'EB001' THEN
        RETURN QUERY SELECT wanted.id, held.event_id, 'conflict'
        FROM unnest(sources, keys, ids, digests) AS wanted (source, key, id, digest)
        JOIN eventbus.publish_key AS held ON held.source = wanted.source AND held.key = wanted.key
        WHERE held.digest <> wanted.digest;
        IF NOT FOUND THEN -- its time ran out at this very moment
            RETURN QUERY SELECT ids[1], NULL::uuid, 'busy';
        END IF;
    WHEN lock_not_available OR deadlock_detected THEN
        RETURN QUERY SELECT ids[1], NULL::uuid, 'busy';
    WHEN serialization_failure THEN
        RETURN QUERY SELECT ids[1], NULL::uuid,
            CASE current_setting('transaction_isolation') WHEN 'serializable' THEN 'outdated' ELSE 'unseen' END;
END
$$;
"""


def upgrade() -> None:
    """Create the table and its function in the schema that `eventbus migrate` was told."""
    schema = context.config.attributes["schema"]
    for part in (TABLE, TAKE):
        op.get_bind().exec_driver_sql(part.replace("eventbus.", f"{schema}.").replace("%", "%%"))
