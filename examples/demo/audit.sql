WITH applied AS (
    SELECT event_id,
           count(*) AS times,
           count(DISTINCT ("partition", "offset")) AS records
    FROM ledger
    GROUP BY event_id
), events AS (
    SELECT count(p.event_id)                                                AS events,
           count(*) FILTER (WHERE a.event_id IS NULL)                       AS lost,
           count(*) FILTER (WHERE a.times > 1)                              AS doubled,
           count(*) FILTER (WHERE p.event_id IS NULL)                       AS unknown,
           coalesce(sum(a.times), 0)::bigint                                AS entries,
           count(*) FILTER (WHERE a.times > a.records)                      AS redelivered
    FROM payments p
    FULL JOIN applied a USING (event_id)
), balances AS (
    SELECT count(*) FILTER (WHERE balance <> opening + coalesce(change, 0)) AS wrong_accounts,
           sum(opening + coalesce(change, 0))::bigint                       AS expected_balance,
           sum(balance)::bigint                                             AS actual_balance
    FROM accounts
    LEFT JOIN (SELECT account, sum(cents) AS change FROM payments GROUP BY account) expected ON account = id
)
SELECT * FROM events, balances;
