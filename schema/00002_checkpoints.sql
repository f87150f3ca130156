-- +goose Up

-- Functions, operators and types below are PostgreSQL's own, whatever the search_path and other
-- schemas hold. The search_path is put back at the end.
SELECT pg_catalog.set_config('idem_migration.search_path', pg_catalog.current_setting('search_path'), false),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false);

CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 2;

-- The checkpoint of a partition: all its records before next_offset have taken effect. It is
-- advanced in the transactions that process them, only by the latest owner, whose token is
-- owner_token, and only from where that owner last saw it. One row for each partition, updated all
-- the time: the free space keeps the updates within their page (HOT), and vacuum comes early.
-- While an owner processes records out of their order, there is another row for each of its lanes: the
-- lane has processed all of its own records before next_offset. By them a database that has lost only
-- commits of lanes, which leave the partition's row alone, is noticed too.
CREATE TABLE idem.checkpoints (
    next_offset    bigint      NOT NULL DEFAULT 0 CHECK (next_offset >= 0),
    epoch          bigint      NOT NULL DEFAULT 1,
    consumer_id    bigint      NOT NULL,
    acquired_at    timestamptz NOT NULL DEFAULT now(),
    started_offset bigint,
    owner_token    uuid,
    started_by     uuid,
    topic_id       uuid,
    partition      integer     NOT NULL CHECK (partition >= 0),
    lane           integer     NOT NULL DEFAULT 0 CHECK (lane >= 0),
    starts         integer     NOT NULL DEFAULT 0,
    leader_epoch   integer,
    started_decoded boolean    NOT NULL DEFAULT false,
    topic          text        COLLATE "C" NOT NULL,
    owner          text,
    PRIMARY KEY (consumer_id, topic, partition, lane)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

COMMENT ON TABLE  idem.checkpoints IS 'How far each partition of a topic is processed.';
COMMENT ON COLUMN idem.checkpoints.lane IS '0 for the partition, else a lane of its present owner.';
COMMENT ON COLUMN idem.checkpoints.next_offset IS 'All records before this one have taken effect.';
COMMENT ON COLUMN idem.checkpoints.owner_token IS 'Random, of the latest owner; transactions of others are refused. Null after an operator has set the checkpoint.';
COMMENT ON COLUMN idem.checkpoints.epoch IS 'How many owners there have been, for people.';
COMMENT ON COLUMN idem.checkpoints.acquired_at IS 'When the latest owner acquired the partition.';
COMMENT ON COLUMN idem.checkpoints.started_offset IS 'The record that an owner began with, to find records that kill processes.';
COMMENT ON COLUMN idem.checkpoints.started_by IS 'The token of the owner that did so last.';
COMMENT ON COLUMN idem.checkpoints.starts IS 'How many owners have begun with it.';
COMMENT ON COLUMN idem.checkpoints.started_decoded IS 'Whether one of them has come to process it, so that it is not its decoding that ends them.';
COMMENT ON COLUMN idem.checkpoints.topic_id IS 'Kafka''s id of the topic: another id is another topic of the same name.';
COMMENT ON COLUMN idem.checkpoints.leader_epoch IS 'Kafka''s leader epoch of the record before next_offset, to find logs that were truncated.';
COMMENT ON COLUMN idem.checkpoints.owner IS 'Host and process of the latest owner, for people.';

SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('idem_migration.search_path'), false);

-- +goose Down
DROP TABLE idem.checkpoints;
CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS pg_catalog.int4
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 1;
