-- For sqlc alone, which needs the schema before the tables in it. Databases get theirs from
-- package migrate, under the configured name.
CREATE SCHEMA idem;
