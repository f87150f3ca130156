-- +goose Up

-- A consumer is the scope of deduplication: two services that share a database and see
-- the same event must each process it, so each has a name of its own here.
CREATE TABLE idem.consumers (
    id         integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text        COLLATE "C" NOT NULL UNIQUE
                           CHECK (octet_length(name) BETWEEN 1 AND 255),
    retention  interval    NOT NULL CHECK (retention > interval '0'),
    created_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE  idem.consumers IS 'Who deduplicates: one row for each consumer name.';
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
    consumer_id  integer     NOT NULL,
    key          uuid        NOT NULL,
    claim_id     uuid        NOT NULL,
    event_id     text        COLLATE "C",
    metadata     jsonb,
    PRIMARY KEY (consumer_id, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

COMMENT ON TABLE  idem.processed_events IS 'The claims: a row here means that the event took effect, in the same transaction.';
COMMENT ON COLUMN idem.processed_events.processed_at IS 'Start of the transaction that processed the event, by this server''s clock.';
COMMENT ON COLUMN idem.processed_events.key IS 'event_key(event id)';
COMMENT ON COLUMN idem.processed_events.claim_id IS 'UUIDv7 of the call that claimed the event.';
COMMENT ON COLUMN idem.processed_events.event_id IS 'The event id, or null when it is the text of key itself.';

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
        ELSE encode(set_byte(set_byte(substring(sha256(convert_to(event_id, 'UTF8')) FROM 1 FOR 16),
                 6, get_byte(sha256(convert_to(event_id, 'UTF8')), 6) & 15 | 128),
                 8, get_byte(sha256(convert_to(event_id, 'UTF8')), 8) & 63 | 128), 'hex')::uuid
    END;

COMMENT ON FUNCTION idem.event_key(text) IS 'The key under which processed_events holds an event id.';

-- What an operator wants to read in psql.
CREATE VIEW idem.events AS
SELECT c.name AS consumer, coalesce(e.event_id, e.key::text) AS event_id, e.processed_at, e.claim_id, e.metadata
FROM idem.processed_events e
JOIN idem.consumers c ON c.id = e.consumer_id;

COMMENT ON VIEW idem.events IS 'processed_events with the names of the consumers and the whole event ids.';

-- +goose Down
DROP VIEW idem.events;
DROP FUNCTION idem.event_key(text);
DROP TABLE idem.processed_events;
DROP TABLE idem.consumers;
