CREATE TABLE accounts (
    id      integer PRIMARY KEY,
    opening bigint  NOT NULL,
    balance bigint  NOT NULL
) WITH (fillfactor = 50);

-- What the consumers have done: one entry each time that a payment is applied. No constraint
-- keeps a payment from being applied twice; that is what the demo is about.
CREATE TABLE ledger (
    event_id    uuid    NOT NULL,
    account     integer NOT NULL,
    cents       bigint  NOT NULL,
    "partition" integer NOT NULL,
    "offset"    bigint  NOT NULL
);

-- What they should have done, each payment once.
CREATE TABLE payments (
    event_id uuid    PRIMARY KEY,
    account  integer NOT NULL,
    cents    bigint  NOT NULL
);
