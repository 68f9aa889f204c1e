// Package sqlite is the store seam's database on SQLite, the embedded default of
// a master server: one file, no cgo, no service to run.
//
// A table has the columns key, version and value, and one for each index. The
// value is JSON, so that an operator can query it:
//
//	sqlite3 capstan.db "SELECT key, value ->> 'state' FROM job LIMIT 5"
//
// Readers see a snapshot and do not wait for the writer (WAL); there is one
// writer at a time. A commit has been written to the disk, fsync included, when
// Update returns (synchronous=FULL).
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"capstan/core/rt"
	"capstan/core/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	readers   = 4    // connections for Views
	busyWait  = 5000 // ms that SQLite waits for another program's lock
	busyTries = 6    // transactions begun before an Update gives up: half a minute
)

// DB is an open database. Goroutines share it.
type DB struct {
	path   string
	writer *sql.DB // one connection
	reader *sql.DB
	tables map[string]*table
	closed atomic.Bool
}

// Open opens the database at path for the tables declared by schemas, and makes
// it and them if they are not there. An index that was added to a schema is
// built. A database that a newer program has written is refused.
func Open(ctx context.Context, path string, schemas ...*store.Schema) (*DB, error) {
	db := &DB{path: path, tables: map[string]*table{}}
	if err := db.open(context.WithoutCancel(ctx), schemas); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), db.Close())
	}
	return db, nil
}

func (db *DB) open(ctx context.Context, schemas []*store.Schema) (err error) {
	if err := makeFile(db.path); err != nil {
		return err
	}
	if db.writer, err = connect(db.path, 1, "_txlock=immediate"); err != nil {
		return err
	}
	if db.reader, err = connect(db.path, readers, "_pragma=query_only(1)"); err != nil {
		return err
	}
	if err := migrate(ctx, db.writer); err != nil {
		return err
	}
	for _, s := range schemas {
		t, err := newTable(s)
		if err != nil {
			return err
		}
		if err := t.create(ctx, db.writer); err != nil {
			return fmt.Errorf("table %s: %w", s.Name, err)
		}
		if err := t.prepare(ctx, db); err != nil {
			return fmt.Errorf("table %s: %w", s.Name, err)
		}
		db.tables[s.Name] = t
	}
	return nil
}

// makeFile makes the file, which others may not read, and its name durable.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func connect(path string, conns int, option string) (*sql.DB, error) {
	name := fmt.Sprintf("file:%s?_pragma=busy_timeout(%d)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&%s",
		(&url.URL{Path: path}).EscapedPath(), busyWait, option)
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// migrate brings the database's own tables up to date.
func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return err
	}
	known, err := p.GetDBVersion(ctx)
	if err != nil {
		return err
	}
	sources := p.ListSources()
	if newest := sources[len(sources)-1].Version; known > newest {
		return fmt.Errorf("its format is %d, this program knows %d: use the newer program", known, newest)
	}
	_, err = p.Up(ctx)
	return err
}

// Close closes the database; later calls give [store.ErrClosed].
func (db *DB) Close() error {
	db.closed.Store(true)
	var errs error
	for _, c := range []*sql.DB{db.reader, db.writer} {
		if c != nil {
			errs = errors.Join(errs, c.Close())
		}
	}
	return errs
}

// Update implements [store.DB]. fn runs again if another program held the
// database's lock.
func (db *DB) Update(ctx context.Context, fn func(store.Tx) error) error {
	return db.retry(ctx, func(ctx context.Context) error { return db.transact(ctx, db.writer, true, fn) })
}

// View implements [store.DB].
func (db *DB) View(ctx context.Context, fn func(store.Tx) error) error {
	return db.retry(ctx, func(ctx context.Context) error { return db.transact(ctx, db.reader, false, fn) })
}

// Sequence implements [store.DB].
func (db *DB) Sequence(ctx context.Context, name string) (n int64, err error) {
	err = db.retry(ctx, func(ctx context.Context) error {
		return db.writer.QueryRowContext(ctx, `INSERT INTO capstan_sequence (name, last) VALUES (?, 1)
			ON CONFLICT (name) DO UPDATE SET last = last + 1 RETURNING last`, name).Scan(&n)
	})
	return n, err
}

// retry runs do, which ctx does not end: a transaction is short, and one that was
// interrupted would leave its caller not knowing.
func (db *DB) retry(ctx context.Context, do func(ctx context.Context) error) error {
	inner := context.WithoutCancel(ctx)
	for try := 1; ; try++ {
		if ctx.Err() != nil {
			return rt.Cause(ctx)
		}
		if db.closed.Load() {
			return store.ErrClosed
		}
		err := do(inner)
		switch {
		case err == nil:
			return nil
		case db.closed.Load():
			return store.ErrClosed
		case !busy(err):
			return err
		case try == busyTries:
			return fmt.Errorf("database %s is locked by another program: %w", db.path, err)
		}
	}
}

func busy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

func (db *DB) transact(ctx context.Context, conn *sql.DB, write bool, fn func(store.Tx) error) (err error) {
	t, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("database %s: begin: %w", db.path, err)
	}
	x := &tx{db: db, sql: t, write: write}
	done := false
	defer func() {
		if !done { // fn failed or panicked
			err = errors.Join(err, t.Rollback())
		}
	}()
	if err := fn(x); err != nil {
		return err
	}
	if x.err != nil {
		return x.err // fn went on after a failure: what it wrote is not whole
	}
	done = true
	if err := t.Commit(); err != nil {
		// After some failures SQLite keeps the transaction open, and database/sql
		// lets go of it. Where it does not, there is none to roll back: an error.
		_, _ = conn.ExecContext(ctx, "ROLLBACK")
		return fmt.Errorf("database %s: commit: %w", db.path, err)
	}
	return nil
}
