package idem_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
)

// A connection that somebody in the network can read or forge is told, once, with the reason.
func TestUnverifiedConnectionWarnsOnce(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://me:zebra@db:5432/x":                                    "encryption is not required", // sslmode=prefer
		"postgres://me:zebra@db:5432/x?sslmode=disable":                    "encryption is not required",
		"postgres://me:zebra@db:5432/x?sslmode=allow":                      "encryption is not required",
		"postgres://me:zebra@db:5432/x?sslmode=require":                    "certificate is not verified",
		"postgres://me:zebra@127.0.0.1,db/x?sslmode=require":               "certificate is not verified",
		"postgres://me:zebra@db:5432/x?sslmode=verify-full":                "",
		"postgres://me:zebra@db:5432/x?sslmode=verify-ca&sslrootcert=ROOT": "",
		"postgres://me:zebra@db:5432/x?sslmode=require&sslrootcert=ROOT":   "", // It is verify-ca then.
		"postgres://me:zebra@127.0.0.1:5432/x?sslmode=disable":             "",
		"postgres://me:zebra@[::1]:5432/x":                                 "",
		"postgres://me:zebra@localhost/x":                                  "",
		"host=/var/run/postgresql user=me password=zebra":                  "",
	} {
		t.Run(dsn, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			pool, err := pgxpool.New(t.Context(), strings.ReplaceAll(dsn, "ROOT", rootCertificate(t)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			newGuard(t, pool, idem.Config{Consumer: "orders", Logger: slog.New(slog.NewTextHandler(&log, nil))})
			lines := strings.Count(log.String(), "\n")
			if want == "" && lines != 0 || want != "" && (lines != 1 || !strings.Contains(log.String(), want) || !strings.Contains(log.String(), "level=WARN")) {
				t.Errorf("log %q, want %q", log.String(), want)
			}
			if strings.Contains(log.String(), "zebra") {
				t.Error("the log has the password")
			}
		})
	}
}

func rootCertificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "root.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}

	return file
}
