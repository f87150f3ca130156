package e2e_test

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// previousRelease is the commit from which services are upgraded. A release moves it to its own tag
// (docs/release.md).
const previousRelease = "1a9350a0018fbde8d5e38bc09c035aa06d608c86"

// release is what a release of this project runs as.
type release struct {
	worker  string // the program of its workers: this test, as it was then
	idemctl string
}

// buildRelease builds the programs of a commit.
func buildRelease(t *testing.T, commit string) release {
	t.Helper()
	tree := t.TempDir()
	archive := filepath.Join(tree, "release.tar")
	if out, err := exec.CommandContext(t.Context(), "git", "-C", "..", "archive", "--output="+archive, commit).CombinedOutput(); err != nil {
		t.Fatalf("the history lacks the previous release; fetch all of it (git fetch --unshallow): %v\n%s", err, out)
	}
	built := release{worker: filepath.Join(tree, "worker"), idemctl: filepath.Join(tree, "idemctl")}
	for _, command := range [][]string{
		{"tar", "-xf", archive, "-C", tree},
		{"go", "build", "-C", tree, "-o", built.idemctl, "./cmd/idemctl"},
		{"go", "test", "-C", filepath.Join(tree, "e2e"), "-c", "-o", built.worker, "."},
	} {
		if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}

	return built
}

// run runs the release's idemctl, which must succeed, and returns what it prints.
func (r release) run(t *testing.T, dsn string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), r.idemctl, append(args, "--database-url", dsn)...).CombinedOutput()
	if err != nil {
		t.Fatalf("the previous release's idemctl %v: %v\n%s", args, err, out)
	}

	return string(out)
}

// A service is upgraded as docs/operations.md says: migrate while the previous release runs, then roll the
// new one out beside it. Each event is produced to all partitions, so both releases claim the same
// ids, at the same time: each takes effect once.
func TestUpgradeWithTwoReleasesRunning(t *testing.T) {
	t.Parallel()
	const partitions = 4
	old := buildRelease(t, previousRelease)
	db := pgtest.NewEmptyDB(t)
	old.run(t, db.DSN, "migrate", "up")
	s := setupIn(t, broker.InProcess(t), partitions, db.Pool(t, pgtest.MaxConns(16)))
	produced := 0
	produce := func() {
		t.Helper()
		const more = 200
		for partition := range partitions {
			records := events(produced, more, 1)
			for i := range records {
				records[i].Partition = partition
			}
			s.broker.Write(t, s.topic, records...)
		}
		produced += more
	}
	done := func() int64 { return int64(produced) * partitions }

	produce()
	oldWorker := s.startJobOf(t, old.worker, job{DSN: db.DSN})
	s.awaitCommitted(t, done())

	if before := s.schemaVersion(t); before < schema.Version {
		s.refusesOlderTables(t, db.DSN, before)
	}
	produce()
	if err := migrate.Up(t.Context(), db.DSN, schema.DefaultName); err != nil { // While the previous release works.
		t.Fatal(err)
	}
	produce()
	s.awaitCommitted(t, done())
	if status := old.run(t, db.DSN, "migrate", "status"); s.schemaVersion(t) != schema.Version {
		t.Errorf("after the migration:\n%s", status)
	}

	newWorker := s.startJob(t, job{DSN: db.DSN})
	s.awaitMembers(t, 2)
	produce()
	s.awaitCommitted(t, done())
	s.awaitOwners(t, 2)

	produce()
	oldWorker.kill(t) // The new release takes over what the previous one has begun …
	s.awaitCommitted(t, done())
	produce()
	oldWorker = s.startJobOf(t, old.worker, job{DSN: db.DSN})
	newWorker.kill(t) // … and the other way round: a roll-out that is taken back leaves the tables as they are.
	s.awaitCommitted(t, done())
	oldWorker.dismiss(t)
	s.verifyOnce(t, produced)
}

func (s *bench) schemaVersion(t *testing.T) (version int) {
	t.Helper()
	if err := s.pool.QueryRow(t.Context(), `SELECT idem.schema_version()`).Scan(&version); err != nil {
		t.Fatal(err)
	}

	return version
}

// refusesOlderTables checks that a worker of this release ends at once, and says what to do.
func (s *bench) refusesOlderTables(t *testing.T, dsn string, version int) {
	t.Helper()
	w := s.startJob(t, job{DSN: dsn})
	defer time.AfterFunc(patience, func() { _ = w.input.Close() }).Stop()
	err := w.command.Wait()
	for _, says := range []string{
		"is at version " + strconv.Itoa(version) + ", this release needs " + strconv.Itoa(schema.Version), "idemctl migrate up",
	} {
		if said := w.messages.String(); err == nil || !strings.Contains(said, says) {
			t.Errorf("on older tables a worker ended with %v and does not say %q:\n%s", err, says, said)
		}
	}
}

// awaitOwners returns once n processes own partitions.
func (s *bench) awaitOwners(t *testing.T, n int) {
	t.Helper()
	until(t, strconv.Itoa(n)+" owners of partitions", func() bool {
		var owners int
		err := s.pool.QueryRow(t.Context(), `SELECT count(DISTINCT owner) FROM idem.checkpoints`).Scan(&owners)

		return err == nil && owners == n
	})
}
