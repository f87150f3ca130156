-- +goose Up

-- Functions, operators and types below are PostgreSQL's own, whatever the search_path and other
-- schemas hold. The search_path is put back at the end.
SELECT pg_catalog.set_config('idem_migration.search_path', pg_catalog.current_setting('search_path'), false),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false);

CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 4;

-- A paused consumer begins with no other record. Its processes look once a second.
ALTER TABLE idem.consumers
    ADD COLUMN paused_at    timestamptz,
    ADD COLUMN paused_by    text COLLATE "C",
    ADD COLUMN pause_reason text COLLATE "C",
    ADD CONSTRAINT consumers_paused CHECK ((paused_at IS NULL) = (paused_by IS NULL) AND (paused_at IS NULL) = (pause_reason IS NULL));

COMMENT ON COLUMN idem.consumers.paused_at IS 'When an operator paused the consumer; null while it is not paused.';
COMMENT ON COLUMN idem.consumers.paused_by IS 'Who it was: the role and its host, and the name that was given, for people.';
COMMENT ON COLUMN idem.consumers.pause_reason IS 'Why, for people; may be empty.';

SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('idem_migration.search_path'), false);

-- +goose Down
ALTER TABLE idem.consumers DROP COLUMN paused_at, DROP COLUMN paused_by, DROP COLUMN pause_reason;
CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS pg_catalog.int4
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN 3;
