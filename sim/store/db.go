// Package store keeps durable state in the virtual world: a database ([DB]) and
// a directory of files ([Dir]) in memory, with what a crash does to them.
//
// Both belong to a simulated host, not to a process: when a process is killed
// they stay as they are; when the host crashes the world calls Crash, and what
// was not committed, or not synced, is lost. A process that starts afterwards
// is handed the same object and finds what a real one would find on disk.
package store

import (
	"context"
	"fmt"

	"capstan/core/rt"
	"capstan/core/store"
)

// DB is a database in memory. Values are kept as they were put, not encoded: a
// planning run makes millions of transactions, and SQL takes 11 µs for each.
type DB struct {
	mu     *rt.Mutex // one transaction at a time; made by the first
	tables map[string]*table
	known  map[string]bool // tables declared at opening; nil allows every table
	// declared are the tables by schema, since the opening: a name takes longer to find.
	declared map[*store.Schema]*table
	seq      map[string]int64
	cur      *tx
	undo     []change // room for the next transaction's
	closed   bool
	check    bool
}

// NewDB makes an empty database for the schemas given; with none it accepts
// every table.
func NewDB(schemas ...*store.Schema) *DB {
	db := &DB{tables: map[string]*table{}, seq: map[string]int64{}}
	db.Reopen(schemas...)
	return db
}

// CheckValues makes the database look, at the price of JSON for each operation,
// for what memory forgives and a real database does not: values that were
// changed after they were put or got, and values that JSON does not keep.
func (db *DB) CheckValues() { db.check = true }

// Crash is what the end of the host does: the transaction that had not been
// committed is lost. The database is open again afterwards.
func (db *DB) Crash() {
	if db.cur != nil {
		db.cur.rollback()
		db.cur.err = fmt.Errorf("the host crashed: %w", store.ErrClosed)
		db.cur = nil
	}
	db.closed = false
}

// Reopen opens the database again after Close, for the schemas given.
func (db *DB) Reopen(schemas ...*store.Schema) {
	db.closed, db.known, db.declared = false, nil, map[*store.Schema]*table{}
	if len(schemas) > 0 {
		db.known = map[string]bool{}
	}
	for _, s := range schemas {
		db.known[s.Name] = true
		db.declare(s)
	}
}

// Update implements [store.DB]. fn runs once: transactions are serial.
func (db *DB) Update(ctx context.Context, fn func(store.Tx) error) error {
	return db.transact(ctx, true, fn)
}

// View implements [store.DB].
func (db *DB) View(ctx context.Context, fn func(store.Tx) error) error {
	return db.transact(ctx, false, fn)
}

// Peek shows fn what is there, at once and from outside any task: to whoever
// watches the world without being part of it. fn changes nothing.
func (db *DB) Peek(fn func(store.Tx) error) error { return fn(&tx{db: db}) }

func (db *DB) transact(ctx context.Context, write bool, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return rt.Cause(ctx)
	}
	db.lock(ctx)
	defer db.mu.Unlock(ctx)
	if db.closed {
		return store.ErrClosed
	}
	t := &tx{db: db, write: write, undo: db.undo}
	db.cur = t
	// Also when fn panics, or unwinds because its process was killed: nothing of
	// the transaction stays, as in a database whose client went away.
	defer func() {
		if db.cur == t {
			t.rollback()
			t.err = errTxEnded
			db.cur = nil
		}
	}()
	if err := fn(t); err != nil {
		return err
	}
	if t.err != nil {
		return t.err
	}
	t.forget() // it is committed: there is nothing to roll back
	return nil
}

// Sequence implements [store.DB].
func (db *DB) Sequence(ctx context.Context, name string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, rt.Cause(ctx)
	}
	db.lock(ctx)
	defer db.mu.Unlock(ctx)
	if db.closed {
		return 0, store.ErrClosed
	}
	db.seq[name]++
	return db.seq[name], nil
}

// lock lets one transaction in. None waits for another as long as fn touches no
// other seam; one that does is found, because a task that holds a mutex may not
// block. The mutex is made here since a database is made before any task.
func (db *DB) lock(ctx context.Context) {
	if db.mu == nil {
		db.mu = rt.NewMutex(ctx)
	}
	db.mu.Lock(ctx)
}

// Close refuses further transactions until Reopen or Crash.
func (db *DB) Close() error {
	db.closed = true
	return nil
}

// declare finds or makes the table of a schema, with the schema's indexes.
func (db *DB) declare(s *store.Schema) *table {
	t := db.tables[s.Name]
	if t == nil {
		t = newTable()
		db.tables[s.Name] = t
	}
	t.declare(s)
	db.declared[s] = t
	return t
}
