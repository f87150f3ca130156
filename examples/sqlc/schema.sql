CREATE SCHEMA IF NOT EXISTS shop;

CREATE TABLE IF NOT EXISTS shop.accounts (
    id    text PRIMARY KEY,
    cents bigint NOT NULL
);
