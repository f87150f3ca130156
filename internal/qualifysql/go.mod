module github.com/nova-events/idempotent-consumer/internal/qualifysql

go 1.26.0

require (
	github.com/pganalyze/pg_query_go/v6 v6.2.2
	github.com/wasilibs/go-pgquery v0.0.0-20250409022910-10ac41983c07
	google.golang.org/protobuf v1.36.10
)

require (
	github.com/tetratelabs/wazero v1.9.0 // indirect
	github.com/wasilibs/wazero-helpers v0.0.0-20240620070341-3dff1577cd52 // indirect
	golang.org/x/sys v0.21.0 // indirect
)
