-- +goose Up

-- Functions, operators and types below are PostgreSQL's own, whatever the search_path and other
-- schemas hold. The search_path is put back at the end.
SELECT pg_catalog.set_config('idem_migration.search_path', pg_catalog.current_setting('search_path'), false),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false);

CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 5;

-- A lease is an event whose effect is outside the transaction and that is not processed yet: the transaction that
-- claims the event deletes it. The state is that of the last attempt:
--   running   it has the lease until "until"; from then on nobody knows whether it took effect
--   unknown   it ended, and nobody knows whether it took effect
--   released  it ended without an effect
-- Another attempt may begin when "until" is over: after "released" always, otherwise only by the policy of the
-- service or the decision of an operator. All times are clock_timestamp() of this server.
CREATE TABLE idem.leases (
    until           timestamptz NOT NULL,
    first_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    decided_at      timestamptz,
    consumer_id     bigint      NOT NULL,
    fingerprint     bigint,
    key             uuid        NOT NULL,
    token           uuid,
    attempts        integer     NOT NULL DEFAULT 1 CHECK (attempts > 0),
    unknown         integer     NOT NULL DEFAULT 0 CHECK (unknown BETWEEN 0 AND attempts),
    needs_decision  boolean     NOT NULL,
    state           text        COLLATE "C" NOT NULL DEFAULT 'running'
                                CHECK (state IN ('running', 'unknown', 'released')),
    event_id        text        COLLATE "C",
    error           text,
    decided_by      text        COLLATE "C",
    decision_reason text        COLLATE "C",
    PRIMARY KEY (consumer_id, key),
    CONSTRAINT leases_token CHECK ((token IS NULL) = (state <> 'running')),
    CONSTRAINT leases_decided CHECK ((decided_at IS NULL) = (decided_by IS NULL) AND (decided_at IS NULL) = (decision_reason IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

COMMENT ON TABLE  idem.leases IS 'Events whose effects are outside the transaction, until they are processed.';
COMMENT ON COLUMN idem.leases.token IS 'Random, of the attempt that is running: only with it can the event be completed.';
COMMENT ON COLUMN idem.leases.attempts IS 'How many attempts have begun.';
COMMENT ON COLUMN idem.leases.unknown IS 'How many of them ended without anybody knowing whether they took effect; one that is running does not count.';
COMMENT ON COLUMN idem.leases.needs_decision IS 'Whether an operator has to decide when nobody knows whether the last attempt took effect.';
COMMENT ON COLUMN idem.leases.fingerprint IS 'As in processed_events.';
COMMENT ON COLUMN idem.leases.event_id IS 'The event id, or null when it is the text of key itself.';
COMMENT ON COLUMN idem.leases.error IS 'Of the last attempt that ended.';
COMMENT ON COLUMN idem.leases.decided_by IS 'The operator who last had it run again: the role and its host, and the name that was given, for people.';

-- What leased events and their steps have returned. Those of steps go when their event is processed, that of
-- the event (step '') goes with its claim.
CREATE TABLE idem.results (
    stored_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    consumer_id  bigint      NOT NULL,
    key          uuid        NOT NULL,
    step         text        COLLATE "C" NOT NULL,
    content_type text        COLLATE "C" NOT NULL,
    body         bytea       NOT NULL,
    PRIMARY KEY (consumer_id, key, step)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

COMMENT ON TABLE  idem.results IS 'What leased events and their steps have returned.';
COMMENT ON COLUMN idem.results.step IS 'The name of the step; empty for the event itself.';

SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('idem_migration.search_path'), false);

-- +goose Down
DROP TABLE idem.results;
DROP TABLE idem.leases;
CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS pg_catalog.int4
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 4;
