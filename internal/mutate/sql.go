package main

const sqlTests = "idemsql/ormtest"

// databaseSQL are the mechanisms of idemsql, and of idem for it.
var databaseSQL = []mutant{
	{
		id: "sql-claim-first", mechanism: "the claim comes before the handler, in its transaction",
		file: "idem/bridge.go",
		find: "got, err := g.watchClaim(ctx, c, func(ctx context.Context) (claimed, error) { return g.claim(ctx, g.names.on(s), c) })\n\t\tif err != nil {\n\t\t\treturn err\n\t\t}\n\n\t\treturn fn(txCtx, s, got)",
		put: `if err := fn(txCtx, s, claimed{place: true, count: 1}); err != nil {
			return err
		}

		return g.inSession(ctx, func(s sqlbridge.Session) error { _, err := g.claim(ctx, g.names.on(s), c); return err })`,
		checker: in(sqlTests, "TestRace"), says: "event-0 was new to",
	},
	{
		id: "sql-claim-decides", mechanism: "the answer to the claim decides whether the handler runs",
		file: "idem/bridge.go", find: "if !got.isNew(c) {", put: "if !got.isNew(c) && fn == nil {",
		checker: in(sqlTests, "TestHandlerFails"), says: "duplicate: got processed, <nil>; want already processed",
	},
	{
		id: "sql-asked-before-commit", mechanism: "the server is asked before the COMMIT whether the transaction is open",
		file: "idem/bridge.go", find: "return g.judgeInSession(txCtx, err, tx, c)", put: "return judge(err, txOpen, c)",
		checker: in(sqlTests, "TestAbortedTransaction/pgdriver"), says: "got processed, <nil> after 1 runs; want a HandlerError",
	},
	{
		id: "sql-query-open", mechanism: "pgx is asked whether a query is open, before a statement leaves it in disorder",
		file: "idem/bridge.go", find: "if tx.IsBusy() {", put: "if false {",
		checker: in(sqlTests, "TestHandlerLeavesAQueryOpen/pgx"), says: "after 2 runs; want a HandlerError",
	},
	{
		id: "sql-commit-not-waited-for", mechanism: "the outcome of a lost COMMIT is looked up without waiting for the transaction",
		file: "idem/claim.go", find: "outcome, err = g.probe(ctx, c)",
		put: `err = g.onConn(ctx, func(conn db.DBTX) error {
				event, err := g.queries.EventGet(ctx, conn, db.EventGetParams{ConsumerID: g.consumer, Key: c.key})
				switch {
				case errors.Is(err, pgx.ErrNoRows):
					return ErrNotFound
				case err == nil && event.ClaimID == c.claimID:
					outcome = Processed
				case err == nil:
					outcome = AlreadyProcessed
				}

				return err
			})`,
		checker: in(sqlTests, "TestSlowCommitWithoutAnswer"), says: "a: got already processed, <nil>; want processed",
	},
	{
		id: "sql-stale-connections", mechanism: "BEGIN takes another connection if one is lost",
		file: "idemsql/session.go", find: "stale == 0 ||", put: "true ||",
		checker: in(sqlTests, "TestStaleConnections"), says: "after 5 attempts: idem: begin: driver: bad connection; want processed",
	},
	{
		id: "sql-context-detached", mechanism: "the transaction outlives the caller's context",
		file: "idem/bridge.go", find: "txCtx, cancel := backoff.Outlive(ctx, c.retry.ResolveTimeout)", put: "txCtx, cancel := backoff.Outlive(ctx, 0)",
		checker: in(sqlTests, "TestContextEndsDuringCommit"), says: "want processed",
	},
	{
		id: "sql-sqlstate", mechanism: "the SQLSTATE of a driver's error is found: pgdriver's",
		file: "idemsql/sqlstate.go", find: "fields = bun.Field", put: "return err",
		checker: in(sqlTests, "TestSerializationFailureIsRetried/pgdriver"), says: "want processed",
	},
	{
		id: "sql-severity", mechanism: "the severity of a driver's error is found: that of lib/pq",
		file: "idemsql/sqlstate.go", find: "Severity: fields('S'), ", put: "",
		checker: in(sqlTests, "TestRefusedCommit/pq"), says: "want a HandlerError",
	},
	{
		id: "sql-view-ends", mechanism: "the view of a transaction ends with its function",
		file: "idemsql/intx.go", find: "defer view.Rollback() //nolint:errcheck // It ends the view and its queries only.", put: "",
		checker: in(sqlTests, "TestInTxLeavesNothingBehind"), says: "it left a query open",
	},
	{
		id: "sql-view-ends-nothing", mechanism: "COMMIT of the view is refused",
		file: "idemsql/intx.go", find: "{ return idem.ErrHandlerTx }", put: "{ return nil }",
		checker: in(sqlTests, "TestInTxIsNotEndedByItsUser"), says: "Commit: got processed, <nil>; want ErrHandlerTx",
	},
	{
		id: "sql-values-in-binary", mechanism: "values do not depend on the session's settings",
		file: "idemsql/viewrows.go", find: "pgtype.DateOID: pgx.BinaryFormatCode, pgtype.TimestampOID: pgx.BinaryFormatCode, pgtype.TimestamptzOID: pgx.BinaryFormatCode,", put: "",
		checker: in(sqlTests, "TestInTxValues"), says: "column 17",
	},
}
