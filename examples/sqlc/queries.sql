-- name: AccountCredit :exec
INSERT INTO shop.accounts (id, cents) VALUES (@id, @cents)
ON CONFLICT (id) DO UPDATE SET cents = accounts.cents + excluded.cents;

-- name: AccountBalance :one
SELECT cents FROM shop.accounts WHERE id = @id;
