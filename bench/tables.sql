-- What the handlers write: a balance is changed and a line is added for each event.
CREATE SCHEMA bench;

CREATE TABLE bench.accounts (
    id      integer PRIMARY KEY,
    balance bigint  NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE bench.ledger (
    id       bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id text    NOT NULL,
    account  integer NOT NULL,
    amount   bigint  NOT NULL
);

-- The table of the algorithm that asks first and inserts last.
CREATE SCHEMA seed;

CREATE TABLE seed.processed_events (
    id           uuid        PRIMARY KEY,
    event_id     text        NOT NULL UNIQUE,
    processed_at timestamptz NOT NULL DEFAULT now(),
    metadata     jsonb
);

CREATE INDEX ON seed.processed_events (processed_at);

-- What an outbox costs at least: the rows alone.
CREATE TABLE bench.messages (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id text   NOT NULL,
    topic    text   NOT NULL,
    key      bytea,
    value    bytea
);
