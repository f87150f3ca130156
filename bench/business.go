package main

// The business write, which is the same for all subjects: a balance is changed and a line is
// added to the ledger for each event.
const (
	businessOne = `WITH entry AS (INSERT INTO bench.ledger (event_id, account, amount) VALUES ($1, $2, $3))
UPDATE bench.accounts SET balance = balance + $3 WHERE id = $2`

	businessMany = `WITH e AS (
    SELECT event_id, account, amount FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS e (event_id, account, amount)
), entry AS (
    INSERT INTO bench.ledger (event_id, account, amount) SELECT event_id, account, amount FROM e
)
UPDATE bench.accounts a SET balance = a.balance + s.amount
FROM (SELECT account, sum(amount)::bigint AS amount FROM e GROUP BY account) s
WHERE a.id = s.account`
)

// columns are events as businessMany wants them.
type columns struct {
	ids      []string
	accounts []int32
	amounts  []int64
}

func newColumns(n int) columns {
	return columns{make([]string, 0, n), make([]int32, 0, n), make([]int64, 0, n)}
}

func columnsOf(events []event) *columns {
	c := newColumns(len(events))
	for _, e := range events {
		c.add(e)
	}

	return &c
}

func (c *columns) add(e event) {
	c.ids = append(c.ids, e.ID)
	c.accounts = append(c.accounts, e.Account)
	c.amounts = append(c.amounts, e.Amount)
}

func (c *columns) args() []any { return []any{c.ids, c.accounts, c.amounts} }
