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
--   parked      follows an open letter of the same record key, and must not overtake it
--   replay      to be processed again by the owner of the partition
--   replayed    processed since
--   discarded   given up by somebody
--   superseded  not replayed, because the event had been processed by another delivery
CREATE TABLE idem.dead_letters (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    record_offset    bigint      NOT NULL,
    record_time      timestamptz,
    failed_at        timestamptz NOT NULL DEFAULT now(),
    resolved_at      timestamptz,
    claim_id         uuid        NOT NULL,
    topic_id         uuid,
    consumer_id      bigint      NOT NULL,
    record_partition integer     NOT NULL,
    attempts         integer     NOT NULL,
    starts           integer     NOT NULL DEFAULT 0,
    state            text        COLLATE "C" NOT NULL DEFAULT 'open'
                                 CHECK (state IN ('open', 'parked', 'replay', 'replayed', 'discarded', 'superseded')),
    topic            text        COLLATE "C" NOT NULL,
    event_id         text        COLLATE "C",
    error            text        NOT NULL,
    record_key       bytea,
    record_value     bytea,
    header_keys      bytea[]     NOT NULL,
    header_values    bytea[]     NOT NULL
);

CREATE INDEX dead_letters_unresolved ON idem.dead_letters (consumer_id, topic, record_partition, id)
    WHERE state IN ('open', 'parked', 'replay');

-- The unresolved letters of one record key in their order. The key itself may be too long for
-- an index.
CREATE INDEX dead_letters_of_key ON idem.dead_letters (consumer_id, topic, record_partition, sha256(record_key), id)
    WHERE state IN ('open', 'parked', 'replay');

COMMENT ON TABLE  idem.dead_letters IS 'Records that could not be processed, stored by the transactions that marked their events.';
COMMENT ON COLUMN idem.dead_letters.claim_id IS 'The claim that marked the event when the letter was stored.';
COMMENT ON COLUMN idem.dead_letters.event_id IS 'Null if the record has none.';
COMMENT ON COLUMN idem.dead_letters.attempts IS 'How often the handler has failed.';
COMMENT ON COLUMN idem.dead_letters.starts IS 'How often a replay has begun and not ended.';
COMMENT ON COLUMN idem.dead_letters.header_keys IS 'Bytes, because Kafka does not keep anybody from other text than UTF-8.';

SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('idem_migration.search_path'), false);

-- +goose Down
DROP TABLE idem.dead_letters;
CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS pg_catalog.int4
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 2;
