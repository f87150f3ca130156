package e2e_test

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/pgserver"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// vault is a service's bench on a PostgreSQL with TLS and SCRAM-SHA-256 and an Apache Kafka with TLS and
// SCRAM-SHA-512. The bench's own broker is reached without.
type vault struct {
	*bench

	dsn     string // of the service's role
	ca      string // the file with what both certificates are checked against
	brokers []string
	tls     *tls.Config
}

const vaultUser = "shop"

func newVault(t *testing.T, databasePassword, kafkaPassword string) *vault {
	t.Helper()
	server, client := certificate(t)
	pair := server.Certificates[0]
	rawKey, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: rawKey})
	v := &vault{ca: writeCA(t, server), tls: client}
	v.dsn = secureDatabase(t, databasePassword, key, pemOf(server)) + "&sslrootcert=" + url.QueryEscape(v.ca)
	b, addrs := broker.Secure(t, append(key, pemOf(server)...))
	v.brokers = addrs
	salt, iterations := []byte("salt"), 4096
	salted, err := pbkdf2.Key(sha512.New, kafkaPassword, salt, iterations, sha512.Size)
	if err != nil {
		t.Fatal(err)
	}
	altered, err := b.Client.AlterUserScramCredentials(t.Context(), &kafka.AlterUserScramCredentialsRequest{
		Upsertions: []kafka.UserScramCredentialsUpsertion{{Name: vaultUser, Mechanism: kafka.ScramMechanismSha512, Iterations: iterations, Salt: salt, SaltedPassword: salted}},
	})
	if err != nil || altered.Results[0].Error != nil {
		t.Fatal(altered, err)
	}
	v.bench = setupIn(t, b, 1, poolOf(t, v.dsn))

	return v
}

func pemOf(config *tls.Config) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: config.Certificates[0].Certificate[0]})
}

// writeCA writes the certificate of a server, which has signed itself, to a file.
func writeCA(t *testing.T, server *tls.Config) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pemOf(server), 0o600); err != nil {
		t.Fatal(err)
	}

	return file
}

// secureDatabase starts a PostgreSQL with a certificate, and returns the address of a service's role, by which the
// certificate is checked.
func secureDatabase(t *testing.T, password string, key, certificate []byte) (dsn string) {
	t.Helper()
	server, err := pgserver.Start(t.Context(), pgserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	dsn = server.DSN("postgres")
	if err := migrate.Up(t.Context(), dsn, schema.DefaultName); err != nil {
		t.Fatal(err)
	}
	grants, err := schema.Grants(schema.DefaultName, vaultUser)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // Nothing is pending on it.
	const write = `COPY (SELECT pg_catalog.unnest(pg_catalog.string_to_array('%s', E'\n'))) TO PROGRAM 'umask 077; cat >%s'`
	for _, sql := range []string{
		fmt.Sprintf(write, certificate, "server.crt"), fmt.Sprintf(write, key, "server.key"),
		`ALTER SYSTEM SET ssl = on`, `SELECT pg_catalog.pg_reload_conf()`,
		`CREATE ROLE ` + vaultUser + ` LOGIN PASSWORD '` + password + `'; GRANT CREATE ON SCHEMA public TO ` + vaultUser, grants,
	} {
		if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	address, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	address.User, address.RawQuery = url.UserPassword(vaultUser, password), "sslmode=verify-full"
	until(t, "PostgreSQL to have its certificate", func() bool {
		conn, err := pgx.Connect(t.Context(), strings.Replace(address.String(), "verify-full", "require", 1))
		if err == nil {
			_ = conn.Close(t.Context())
		}

		return err == nil
	})

	return address.String()
}

func poolOf(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)

	return pool
}

// target is how idemctl is told the brokers.
func (v *vault) target(brokers []string, password, ca string) string {
	return "kafka+tls://" + vaultUser + ":" + password + "@" + strings.Join(brokers, ",") + "?sasl=SCRAM-SHA-512&ca=" + url.QueryEscape(ca)
}
