-- +goose Up

-- Functions, operators and types below are PostgreSQL's own, whatever the search_path and other
-- schemas hold. The search_path is put back at the end.
SELECT pg_catalog.set_config('idem_migration.search_path', pg_catalog.current_setting('search_path'), false),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false);

CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 7;

-- Owners learn that a checkpoint was set, however many of them end before Kafka has an offset from after that.
ALTER TABLE idem.checkpoints ADD COLUMN reset_epoch bigint NOT NULL DEFAULT 0;

COMMENT ON COLUMN idem.checkpoints.epoch IS 'Grows with each owner and each time that the checkpoint is set. Stands in the offsets that the owner commits to Kafka. Of a lane: the number of the try that made it.';
COMMENT ON COLUMN idem.checkpoints.reset_epoch IS 'The epoch since the checkpoint was last set: offsets of earlier ones say nothing of lost commits.';

SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('idem_migration.search_path'), false);

-- +goose Down
ALTER TABLE idem.checkpoints DROP COLUMN reset_epoch;
CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS pg_catalog.int4
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 6;
