-- +goose Up

-- Functions, operators and types below are PostgreSQL's own, whatever the search_path and other
-- schemas hold. The search_path is put back at the end.
SELECT pg_catalog.set_config('idem_migration.search_path', pg_catalog.current_setting('search_path'), false),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false);

-- Event ids are hashed by their bytes in UTF-8, in the services and here alike.
-- +goose StatementBegin
DO $$ BEGIN
    IF pg_catalog.current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'the database must have the encoding UTF8, not %', pg_catalog.current_setting('server_encoding');
    END IF;
END $$;
-- +goose StatementEnd

-- schema_version tells a release, whatever migrator ran and whatever it may read, what the tables are.
-- Each migration sets it to its own number.
CREATE FUNCTION idem.schema_version() RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 1;

COMMENT ON FUNCTION idem.schema_version() IS 'The number of the latest migration.';

-- consumer_id maps the name of a consumer to its id: the first 8 bytes of SHA-256, big-endian. The
-- id follows from the name, and from nothing that a database hands out, so that after a restore, in
-- a replica or in another shard no consumer ever gets the claims or checkpoints of another.
-- The Go package idem computes the same; a test holds the two equal.
CREATE FUNCTION idem.consumer_id(name text) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ('x' || pg_catalog.encode(pg_catalog.substring(pg_catalog.sha256(
        '\x6964656d2e636f6e73756d657200'::bytea || pg_catalog.convert_to(name, 'UTF8'::name)), 1, 8), 'hex'))::bit(64)::bigint;

COMMENT ON FUNCTION idem.consumer_id(text) IS 'The id of the consumer of that name.';

-- A consumer is the scope of deduplication: two services that share a database and see
-- the same event must each process it, so each has a name of its own here. Two names with one id
-- cannot both be registered.
CREATE TABLE idem.consumers (
    id            bigint      PRIMARY KEY,
    retention     interval    NOT NULL CHECK (retention > interval '0'),
    created_at    timestamptz NOT NULL DEFAULT now(),
    name          text        COLLATE "C" NOT NULL
                              CHECK (octet_length(name) BETWEEN 1 AND 255),
    bound_cluster text        COLLATE "C",
    bound_group   text        COLLATE "C",
    closed        text        COLLATE "C",
    CONSTRAINT consumers_id_of_name CHECK (id = idem.consumer_id(name)),
    CHECK ((bound_cluster IS NULL) = (bound_group IS NULL))
);

COMMENT ON TABLE  idem.consumers IS 'Who deduplicates: one row for each consumer name.';
COMMENT ON COLUMN idem.consumers.id IS 'consumer_id(name)';
COMMENT ON COLUMN idem.consumers.bound_group IS 'The only Kafka group that may use the consumer; null until one does.';
COMMENT ON COLUMN idem.consumers.bound_cluster IS 'The id of the Kafka cluster of that group.';
COMMENT ON COLUMN idem.consumers.closed IS 'Why nobody may use the consumer: what an operator is doing to its rows. Null: nothing.';
COMMENT ON COLUMN idem.consumers.retention IS 'How long an event id is remembered after it was processed.';

-- One row for each (consumer, event) that was processed. Rows are inserted and deleted,
-- never updated on the hot path.
--
-- Columns stand in order of alignment, the 8-byte one first, so that no row is padded.
-- There is no foreign key to consumers: it would take a row lock on one and the same
-- consumers row in every claiming transaction. There is no index on processed_at: expired
-- rows are found by reading the heap in block order (a BRIN index stops helping once space
-- freed by deletes is used again, because its ranges never shrink).
--
-- Autovacuum comes when a twentieth of the rows are dead, not a fifth: where as many rows expire as
-- are inserted, that took 15 % less room for each and did no harm to the rate (docs/benchmarks.md).
-- Its other settings stay the server's.
CREATE TABLE idem.processed_events (
    processed_at timestamptz NOT NULL DEFAULT now(),
    consumer_id  bigint      NOT NULL,
    fingerprint  bigint,
    key          uuid        NOT NULL,
    claim_id     uuid        NOT NULL,
    event_id     text        COLLATE "C",
    metadata     jsonb,
    PRIMARY KEY (consumer_id, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

COMMENT ON TABLE  idem.processed_events IS 'The claims: a row here means that the event took effect, in the same transaction.';
COMMENT ON COLUMN idem.processed_events.processed_at IS 'Start of the transaction that processed the event, by this server''s clock.';
COMMENT ON COLUMN idem.processed_events.fingerprint IS 'The first 8 bytes of SHA-256 of the payload, by which another payload with the same event id is told; null if not known.';
COMMENT ON COLUMN idem.processed_events.key IS 'event_key(event id)';
COMMENT ON COLUMN idem.processed_events.claim_id IS 'UUIDv7 of the call that claimed the event.';
COMMENT ON COLUMN idem.processed_events.event_id IS 'The event id, or null when it is the text of key itself.';

-- Whoever cleans up locks the only row, so that one process at a time does. That takes a right in this
-- schema; an advisory lock could be taken by anybody.
CREATE TABLE idem.cleanup (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);

INSERT INTO idem.cleanup DEFAULT VALUES;

COMMENT ON TABLE idem.cleanup IS 'One row, locked by the process that cleans up.';

-- event_key maps an event id to the key that is unique for a consumer. A canonical
-- lower-case UUID is its own key, which keeps time-ordered ids append-only in the index.
-- Everything else becomes a version 8 UUID (RFC 9562) made of SHA-256. UUIDs of version 8
-- are hashed like everything else: else somebody could send the key of another event as
-- an id and have that other event taken for a duplicate. So is the nil UUID, which stands for
-- no key.
-- idem.Key of the Go package computes the same; a test holds the two equal.
CREATE FUNCTION idem.event_key(event_id text) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE
        WHEN event_id COLLATE "C" ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-79a-f][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$'
             AND event_id <> '00000000-0000-0000-0000-000000000000'
            THEN event_id::uuid
        ELSE pg_catalog.encode(pg_catalog.set_byte(pg_catalog.set_byte(
                 pg_catalog.substring(pg_catalog.sha256(pg_catalog.convert_to(event_id, 'UTF8'::name)), 1, 16),
                 6, pg_catalog.get_byte(pg_catalog.sha256(pg_catalog.convert_to(event_id, 'UTF8'::name)), 6) & 15 | 128),
                 8, pg_catalog.get_byte(pg_catalog.sha256(pg_catalog.convert_to(event_id, 'UTF8'::name)), 8) & 63 | 128), 'hex')::uuid
    END;

COMMENT ON FUNCTION idem.event_key(text) IS 'The key under which processed_events holds an event id.';

-- What an operator wants to read in psql.
CREATE VIEW idem.events AS
SELECT c.name AS consumer, coalesce(e.event_id, e.key::text) AS event_id, e.processed_at, e.claim_id, e.metadata
FROM idem.processed_events e
JOIN idem.consumers c ON c.id = e.consumer_id;

COMMENT ON VIEW idem.events IS 'processed_events with the names of the consumers and the whole event ids.';

SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('idem_migration.search_path'), false);

-- +goose Down
DROP VIEW idem.events;
DROP FUNCTION idem.event_key(pg_catalog.text);
DROP TABLE idem.cleanup;
DROP TABLE idem.processed_events;
DROP TABLE idem.consumers;
DROP FUNCTION idem.consumer_id(pg_catalog.text);
DROP FUNCTION idem.schema_version();
