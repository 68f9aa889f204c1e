// Package store is the seam of durable state: tables of records in a database
// that commits all of a transaction or nothing ([DB], [Table]), and the files of
// a directory ([Dir]).
package store

import (
	"context"
	"errors"
	"io"
)

// ErrNotFound is returned for a key that a table does not hold.
var ErrNotFound = errors.New("no such record")

// ErrClosed is returned by a database that was closed.
var ErrClosed = errors.New("the database is closed")

// DB is a database. Records are declared with [Declare]; a table exists once it
// was declared to the database's opening function.
type DB interface {
	// Update runs fn in a serializable transaction and commits it durably unless
	// fn fails. fn may be run again after a conflict: it touches no other seam.
	Update(ctx context.Context, fn func(tx Tx) error) error
	// View runs fn on a consistent state and changes nothing.
	View(ctx context.Context, fn func(tx Tx) error) error
	// Sequence gives the next number of a named sequence, from 1; never the same twice.
	Sequence(ctx context.Context, name string) (int64, error)
	Close() error
}

// Tx is a transaction as the implementations see it; roles use [Table].
type Tx interface {
	// Get finds a record; ok is false if there is none.
	Get(s *Schema, key string) (v any, ok bool, err error)
	// Put writes a record and its index keys (one for each of the schema's indexes).
	Put(s *Schema, key string, index []string, v any) error
	Delete(s *Schema, key string) error
	// Scan calls fn for each record of an index (-1 is the key itself) whose key k
	// has from <= k and, if to is not "", k < to, in order of (index key, key),
	// until fn returns false.
	Scan(s *Schema, index int, from, to string, fn func(key string, v any) (bool, error)) error
}

// Schema is a table as an implementation sees it.
type Schema struct {
	Name    string   // of the table: lower case words joined by "_"
	Version int      // of the value's JSON; a newer one than this is refused
	Indexes []string // names of the index columns
	New     func() any
	// Decode reads a value of a version up to Version.
	Decode func(version int, b []byte) (any, error)
}

// Dir is a directory of files on a host: a disk storage unit, cartridges, spools,
// the image database. Names may contain "/": directories are made as needed.
type Dir interface {
	// Create makes an empty file, or empties one.
	Create(ctx context.Context, name string) (File, error)
	Open(ctx context.Context, name string) (File, error)
	// Rename is atomic; after Sync of the directory it is durable.
	Rename(ctx context.Context, old, name string) error
	Remove(ctx context.Context, name string) error
	// List gives the names in a directory, sorted, those of directories with "/" at the end.
	List(ctx context.Context, dir string) ([]string, error)
	// Sync makes creations, renames and removals in a directory durable.
	Sync(ctx context.Context, dir string) error
	// Free is the number of bytes that can still be written.
	Free(ctx context.Context) (int64, error)
}

// ErrNoSpace is returned by a write when the disk is full.
var ErrNoSpace = errors.New("no space left on the disk")

// File is an open file. What was written is durable after Sync.
type File interface {
	io.ReaderAt
	io.WriterAt
	// WriteHollow stands for n bytes at an offset that nobody holds, in the virtual
	// world only.
	WriteHollow(ctx context.Context, offset, n int64) error
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}
