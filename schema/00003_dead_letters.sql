-- +goose Up

-- Functions, operators and types below are PostgreSQL's own, whatever the search_path and other
-- schemas hold. The search_path is put back at the end.
SELECT pg_catalog.set_config('idem_migration.search_path', pg_catalog.current_setting('search_path'), false),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false);

CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 3;

-- Records that could not be processed, whole, so that they can be processed later. The state is
--   open        waits for somebody to decide
--   parked      follows an unresolved dead letter of the same record key, and must not overtake it
--   replay      to be processed again by the owner of the partition
--   replayed    processed since
--   discarded   given up by somebody
--   superseded  not replayed, because the event had been processed by another delivery
--   expired     asked for ("idemctl reprocess"), but Kafka no longer had the record
-- The first three are unresolved. The first unresolved dead letter of a record key is never parked:
-- whoever resolves it hands the next one on in the same transaction.
--
-- Ids are made by the clients, whose clocks differ. What has an order is ordered by record_offset.
CREATE TABLE idem.dead_letters (
    record_offset    bigint      NOT NULL,
    record_time      timestamptz,
    failed_at        timestamptz NOT NULL DEFAULT now(),
    resolved_at      timestamptz,
    consumer_id      bigint      NOT NULL,
    key_hash         bigint,
    id               uuid        NOT NULL,
    key              uuid        NOT NULL,
    claim_id         uuid,
    topic_id         uuid        NOT NULL,
    record_partition integer     NOT NULL,
    attempts         integer     NOT NULL,
    starts           integer     NOT NULL DEFAULT 0,
    copied           boolean     NOT NULL DEFAULT false,
    state            text        COLLATE "C" NOT NULL DEFAULT 'open'
                                 CHECK (state IN ('open', 'parked', 'replay', 'replayed', 'discarded', 'superseded', 'expired')),
    topic            text        COLLATE "C" NOT NULL,
    event_id         text        COLLATE "C",
    error            text        NOT NULL,
    record_key       bytea,
    record_value     bytea,
    header_keys      bytea[],
    header_values    bytea[],
    PRIMARY KEY (consumer_id, id)
);

-- A record has one unresolved dead letter, whoever stores it. A place alone does not tell: a log that
-- was truncated has other records in the same places.
CREATE UNIQUE INDEX dead_letters_of_record ON idem.dead_letters (consumer_id, topic, record_partition, topic_id, record_offset, key)
    WHERE state IN ('open', 'parked', 'replay');

-- What owners look for every few seconds.
CREATE INDEX dead_letters_replay ON idem.dead_letters (consumer_id, topic, record_partition, record_offset, id)
    WHERE state = 'replay';

-- The unresolved dead letters of one record key in their order.
CREATE INDEX dead_letters_of_key ON idem.dead_letters (consumer_id, topic, record_partition, topic_id, key_hash, record_offset, id)
    WHERE state IN ('open', 'parked', 'replay');

-- What cleanup looks for.
CREATE INDEX dead_letters_resolved ON idem.dead_letters (consumer_id, resolved_at)
    WHERE resolved_at IS NOT NULL;

COMMENT ON TABLE  idem.dead_letters IS 'Records that could not be processed, stored by the transactions that marked their events.';
COMMENT ON COLUMN idem.dead_letters.id IS 'UUIDv7 made by who stored it.';
COMMENT ON COLUMN idem.dead_letters.key_hash IS 'The first 8 bytes of SHA-256 of the record key; null if others of its key need not wait for it.';
COMMENT ON COLUMN idem.dead_letters.key IS 'The key in processed_events that marks the event; of the record itself if it has no event id.';
COMMENT ON COLUMN idem.dead_letters.claim_id IS 'The claim that marked the event. Null if the event is to be processed again whoever has claimed it.';
COMMENT ON COLUMN idem.dead_letters.topic_id IS 'Kafka''s id of the topic, or zeros. Another topic of the same name is another log: nothing of it waits for this one.';
COMMENT ON COLUMN idem.dead_letters.event_id IS 'Null if the record has none.';
COMMENT ON COLUMN idem.dead_letters.attempts IS 'How often the handler has failed.';
COMMENT ON COLUMN idem.dead_letters.starts IS 'How often a replay has begun and not ended.';
COMMENT ON COLUMN idem.dead_letters.copied IS 'Whether the dead-letter topic has a copy.';
COMMENT ON COLUMN idem.dead_letters.header_keys IS 'Bytes, because Kafka does not keep anybody from other text than UTF-8. Null until the record has been read from Kafka.';

SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('idem_migration.search_path'), false);

-- +goose Down
DROP TABLE idem.dead_letters;
CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS pg_catalog.int4
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 2;
