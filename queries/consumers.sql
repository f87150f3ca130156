-- name: ConsumerByName :one
-- A name stands for one id for ever, so callers may keep the id.
SELECT * FROM idem.consumers WHERE name = @name;

-- name: ConsumerInsert :exec
-- The first registration wins: an existing row, and with it its retention, is left alone.
INSERT INTO idem.consumers (name, retention)
VALUES (@name, @retention)
ON CONFLICT (name) DO NOTHING;

-- name: ConsumerSetRetention :execrows
-- Changes how long ids are remembered from now on; what is forgotten already stays so.
UPDATE idem.consumers SET retention = @retention WHERE name = @name;

-- name: ConsumerList :many
-- All of them: consumers are services, so there are few.
SELECT * FROM idem.consumers ORDER BY name;
