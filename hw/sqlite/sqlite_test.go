package sqlite_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/store"
	"capstan/core/store/storetest"
	"capstan/hw/clock"
	"capstan/hw/sqlite"
)

var updateFixture = flag.Bool("update", false, "write testdata/v1.db again")

func run(t *testing.T, body func(ctx context.Context)) {
	body(clock.Context(t.Context(), "test"))
}

// database is a file that can be opened again; a crash continues with a copy of
// it taken while it is open, as a killed process would leave it.
type database struct {
	t   *testing.T
	dir string
	n   int
}

func (d *database) path() string { return filepath.Join(d.dir, fmt.Sprintf("%d.db", d.n)) }

func (d *database) Open(ctx context.Context, schemas ...*store.Schema) (store.DB, error) {
	db, err := sqlite.Open(ctx, d.path(), schemas...)
	if err != nil {
		return nil, err
	}
	d.t.Cleanup(func() {
		if err := db.Close(); err != nil {
			d.t.Errorf("close: %v", err)
		}
	})
	return db, nil
}

func (d *database) Crash(context.Context) {
	from := d.path()
	d.n++
	for _, suffix := range []string{"", "-wal"} {
		copyFile(d.t, from+suffix, d.path()+suffix)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Errorf("copy: %v", err)
	}
}

func TestDB(t *testing.T) {
	storetest.RunDB(t, run, func(t *testing.T) storetest.Database {
		dir, err := os.MkdirTemp(t.TempDir(), "db")
		if err != nil {
			t.Fatal(err)
		}
		return &database{t: t, dir: dir}
	})
}

type job struct {
	ID    int64    `json:"id"`
	State string   `json:"state"`
	Tags  []string `json:"tags,omitempty"`
}

var jobs = store.Declare[int64, job]("job", 1, store.IntKey, nil,
	store.Index[job]{Name: "state", Key: func(j job) string { return j.State }})

var fixtureJobs = []job{{1, "done", nil}, {2, "queued", []string{"a", "b"}}, {3, "active", nil}}

// TestFixture opens a database that format version 1 has written.
func TestFixture(t *testing.T) {
	const fixture = "testdata/v1.db"
	ctx := clock.Context(t.Context(), "test")
	if *updateFixture {
		writeFixture(ctx, t, fixture)
	}
	path := filepath.Join(t.TempDir(), "v1.db")
	copyFile(t, fixture, path)
	db, err := sqlite.Open(ctx, path, jobs.Schema())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var got []job
	err = db.View(ctx, func(tx store.Tx) error {
		return jobs.By(tx, "state", "", "", func(j job) (bool, error) {
			got = append(got, j)
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []job{fixtureJobs[2], fixtureJobs[0], fixtureJobs[1]}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("jobs by state (-want +got):\n%s", diff)
	}
	if n, err := db.Sequence(ctx, "job"); n != 4 || err != nil {
		t.Errorf("next job id: %d, %v; want 4", n, err)
	}
}

func writeFixture(ctx context.Context, t *testing.T, path string) {
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(ctx, path, jobs.Schema())
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range fixtureJobs {
		if _, err := db.Sequence(ctx, "job"); err != nil {
			t.Fatal(err)
		}
		if err := db.Update(ctx, func(tx store.Tx) error { return jobs.Put(tx, j.ID, j) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOperatorQuery(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	path := filepath.Join(t.TempDir(), "a b?c#d.db") // characters that a URL would take for its own
	db, err := sqlite.Open(ctx, path, jobs.Schema())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(ctx, func(tx store.Tx) error { return jobs.Put(tx, 7, job{7, "queued", nil}) }); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatalf("the database is not at its path: %v", err)
	}
	head := make([]byte, 6)
	if _, err := io.ReadFull(f, head); err != nil || string(head) != "SQLite" {
		t.Errorf("the file begins with %q, %v", head, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	other, err := sql.Open("sqlite", strings.NewReplacer("?", "%3f", "#", "%23").Replace("file:"+path))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var state string
	var id int
	if err := other.QueryRow(`SELECT state, value ->> 'id' FROM job`).Scan(&state, &id); err != nil || state != "queued" || id != 7 {
		t.Errorf("query: %q, %d, %v", state, id, err)
	}
}

func TestRefusesNewer(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	path := filepath.Join(t.TempDir(), "a.db")
	for i, q := range []string{
		"",
		`UPDATE capstan_table SET version = 2`,
		`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`,
	} {
		if q != "" {
			raw, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := raw.Exec(q); err != nil {
				t.Fatal(err)
			}
			if err := raw.Close(); err != nil {
				t.Fatal(err)
			}
		}
		db, err := sqlite.Open(ctx, path, jobs.Schema())
		if (err == nil) != (i == 0) {
			t.Errorf("after %q: %v", q, err)
		}
		if err == nil {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestBadSchema(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	key := func(job) string { return "" }
	for _, s := range []*store.Schema{
		store.Declare[int64, job](`a"b`, 1, store.IntKey, nil).Schema(),
		store.Declare[int64, job]("sqlite_x", 1, store.IntKey, nil).Schema(),
		store.Declare[int64, job]("capstan_table", 1, store.IntKey, nil).Schema(),
		store.Declare("a", 1, store.IntKey, nil, store.Index[job]{Name: "value", Key: key}).Schema(),
	} {
		if db, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "a.db"), s); err == nil {
			t.Errorf("table %s with indexes %v is no error", s.Name, s.Indexes)
			db.Close()
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	ctx := clock.Context(b.Context(), "test")
	db, err := sqlite.Open(ctx, filepath.Join(b.TempDir(), "a.db"), jobs.Schema())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for i := range b.N {
		err := db.Update(ctx, func(tx store.Tx) error {
			id := int64(i % 1000)
			if _, _, err := jobs.Get(tx, id); err != nil {
				return err
			}
			return jobs.Put(tx, id, job{ID: id, State: fmt.Sprint(i % 7)})
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
}

func BenchmarkGet(b *testing.B) {
	ctx := clock.Context(b.Context(), "test")
	db, err := sqlite.Open(ctx, filepath.Join(b.TempDir(), "a.db"), jobs.Schema())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(ctx, func(tx store.Tx) error { return jobs.Put(tx, 1, job{ID: 1}) }); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		err := db.View(ctx, func(tx store.Tx) error {
			_, _, err := jobs.Get(tx, 1)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
