"""What the storm keeps its books in: effects, runs, accounts, and every state that a delivery passed through."""

#: The accounts between which money is moved, and what each holds at first.
ACCOUNTS, BALANCE = 8, 1000

TABLES = f"""
CREATE SCHEMA chaos;
CREATE TABLE chaos.account (id integer PRIMARY KEY, balance integer NOT NULL);
INSERT INTO chaos.account SELECT id, {BALANCE} FROM generate_series(1, {ACCOUNTS}) AS id;
-- No unique key: a second effect is to show.
CREATE TABLE chaos.effect (
    event_id uuid NOT NULL, group_name text NOT NULL, in_session boolean NOT NULL,
    xid text NOT NULL DEFAULT pg_current_xact_id()::text, at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE chaos.run (event_id uuid NOT NULL, group_name text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE chaos.change (
    id bigint GENERATED ALWAYS AS IDENTITY, event_id uuid NOT NULL, group_name text NOT NULL,
    before text NOT NULL, after text NOT NULL, had_rerun boolean NOT NULL, has_rerun boolean NOT NULL,
    xid text NOT NULL DEFAULT pg_current_xact_id()::text, at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON chaos.effect (event_id, group_name);
CREATE INDEX ON chaos.change (event_id, group_name);
CREATE FUNCTION chaos.remember() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos.change (event_id, group_name, before, after, had_rerun, has_rerun)
    VALUES (NEW.event_id, NEW.group_name, OLD.state, NEW.state, OLD.rerun, NEW.rerun);
    RETURN NULL;
END
$$;
CREATE TRIGGER remember AFTER UPDATE ON eventbus.delivery FOR EACH ROW
WHEN (OLD.state <> NEW.state OR OLD.rerun <> NEW.rerun) EXECUTE FUNCTION chaos.remember();
"""
