-- +goose Up

-- The watermark of a partition: all its records before next_offset have taken effect. It is
-- advanced in the transactions that process them, and only by the latest owner, whose number
-- is epoch. One row for each partition, updated all the time: the free space keeps the updates
-- within their page (HOT), and vacuum comes early.
CREATE TABLE idem.partition_offsets (
    next_offset    bigint      NOT NULL DEFAULT 0 CHECK (next_offset >= 0),
    epoch          bigint      NOT NULL DEFAULT 1,
    taken_at       timestamptz NOT NULL DEFAULT now(),
    started_offset bigint,
    started_epoch  bigint,
    topic_id       uuid,
    consumer_id    integer     NOT NULL,
    partition      integer     NOT NULL CHECK (partition >= 0),
    starts         integer     NOT NULL DEFAULT 0,
    topic          text        COLLATE "C" NOT NULL,
    owner          text,
    PRIMARY KEY (consumer_id, topic, partition)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

COMMENT ON TABLE  idem.partition_offsets IS 'The watermarks: how far each partition of a topic is processed.';
COMMENT ON COLUMN idem.partition_offsets.next_offset IS 'All records before this one have taken effect.';
COMMENT ON COLUMN idem.partition_offsets.epoch IS 'Number of the latest owner; transactions of those before it are refused.';
COMMENT ON COLUMN idem.partition_offsets.taken_at IS 'When the latest owner took over.';
COMMENT ON COLUMN idem.partition_offsets.started_offset IS 'The record that an owner began with, to find records that kill processes.';
COMMENT ON COLUMN idem.partition_offsets.started_epoch IS 'The owner that did so last.';
COMMENT ON COLUMN idem.partition_offsets.starts IS 'How many owners have begun with it.';
COMMENT ON COLUMN idem.partition_offsets.topic_id IS 'Kafka''s id of the topic: another id is another topic of the same name.';
COMMENT ON COLUMN idem.partition_offsets.owner IS 'Host and process of the latest owner, for people.';

-- +goose Down
DROP TABLE idem.partition_offsets;
