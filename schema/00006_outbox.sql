-- +goose Up

-- Functions, operators and types below are PostgreSQL's own, whatever the search_path and other
-- schemas hold. The search_path is put back at the end.
SELECT pg_catalog.set_config('idem_migration.search_path', pg_catalog.current_setting('search_path'), false),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false);

CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 6;

-- Records that wait for the relay to take them to Kafka. A row is there if and only if its transaction has
-- committed and Kafka has not acknowledged it. The state is
--   null     waits for the relay
--   failed   Kafka refuses it: waits for somebody to decide
--   parked   waits behind a failed one of the same topic and key, and follows by itself
--   retry    was failed, and is to be tried again
--   discard  was failed, and is to be deleted
-- The relay alone changes rows that have no state, and those of retry and discard.
--
-- xid stands before id, and so gets its default first: an id is never drawn before its transaction has its
-- number. The relay counts on that.
CREATE TABLE idem.outbox (
    xid           xid8        NOT NULL DEFAULT pg_current_xact_id(),
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at    timestamptz NOT NULL DEFAULT now(),
    key_hash      bigint,
    event_id      text        COLLATE "C" NOT NULL,
    topic         text        COLLATE "C" NOT NULL,
    state         text        COLLATE "C" CHECK (state IN ('failed', 'parked', 'retry', 'discard')),
    error         text,
    key           bytea,
    value         bytea,
    header_keys   bytea[],
    header_values bytea[]
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- The records of a transaction that was under way when the relay last looked.
CREATE INDEX outbox_of_transaction ON idem.outbox (xid, id);

-- What holds back the records of a key.
CREATE INDEX outbox_held ON idem.outbox (key_hash, id) WHERE state IS NOT NULL;

-- The decisions alone, however many records are held. Each turn of a relay looks here.
CREATE INDEX outbox_decided ON idem.outbox (id) WHERE state IN ('retry', 'discard');

COMMENT ON TABLE  idem.outbox IS 'Records on their way to Kafka, written by the transactions that they tell of. The relay deletes what Kafka has acknowledged.';
COMMENT ON COLUMN idem.outbox.xid IS 'The transaction that wrote it. Means nothing in another database cluster.';
COMMENT ON COLUMN idem.outbox.id IS 'The order of the records of a transaction, and of a key.';
COMMENT ON COLUMN idem.outbox.key_hash IS 'The first 8 bytes of SHA-256 of topic and key; null without a key.';
COMMENT ON COLUMN idem.outbox.event_id IS 'By which consumers recognize what the relay sends twice.';
COMMENT ON COLUMN idem.outbox.error IS 'Why Kafka refuses it.';
COMMENT ON COLUMN idem.outbox.header_keys IS 'Bytes, because Kafka does not keep anybody from other text than UTF-8. Null without headers.';

SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('idem_migration.search_path'), false);

-- +goose Down
DROP TABLE idem.outbox;
CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS pg_catalog.int4
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 5;
