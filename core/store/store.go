// Package store is the seam of durable state: tables of records in a database
// that commits all of a transaction or nothing ([DB], [Table]), and the files of
// a directory ([Dir]).
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrNotFound is wrapped by the errors for a record or a file that is not there.
var ErrNotFound = errors.New("not found")

// ErrClosed is returned by a database that was closed.
var ErrClosed = errors.New("the database is closed")

// DB is a database. Records are declared with [Declare]; a table exists once it
// was declared to the database's opening function.
type DB interface {
	// Update runs fn in a serializable transaction and commits it durably unless
	// fn fails. fn may be run again after a conflict: it touches no other seam, and
	// begins no transaction of its own.
	Update(ctx context.Context, fn func(tx Tx) error) error
	// View runs fn on a consistent state and changes nothing.
	View(ctx context.Context, fn func(tx Tx) error) error
	// Sequence gives the next number of a named sequence, from 1; never the same
	// twice, whatever crashes in between. It is not called inside a transaction.
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
	// until fn returns false. fn may change the table: the scan shows it as it was
	// when the scan began.
	Scan(s *Schema, index int, from, to string, fn func(key string, v any) (bool, error)) error
}

// Schema is a table as an implementation sees it.
type Schema struct {
	Name    string   // of the table: lower case words joined by "_"
	Version int      // of the value's JSON; a newer one than this is refused
	Indexes []string // names of the index columns: as Name
	// Keys gives a value's key in each index: an index that is added to a table
	// with records is built with it.
	Keys func(v any) []string
	// Decode reads a value of a version up to Version.
	Decode func(version int, b []byte) (any, error)
}

// Dir is a directory of files on a host: a disk storage unit, cartridges, spools,
// the image database. Names may contain "/": directories are made as needed, and
// are durable when Create or Rename returns. A name that [CheckName] refuses is
// an error; a file that is not there gives an error that wraps [ErrNotFound].
type Dir interface {
	// Create makes an empty file, or empties one.
	Create(ctx context.Context, name string) (File, error)
	// Open opens a file for reading and writing.
	Open(ctx context.Context, name string) (File, error)
	// Rename is atomic, replaces what has the new name, and is durable after Sync
	// of both directories.
	Rename(ctx context.Context, old, name string) error
	// Remove removes a file or an empty directory.
	Remove(ctx context.Context, name string) error
	// List gives the names in a directory ("" is the top), sorted by bytes, those of
	// directories with "/" at the end. A directory that is not there has none.
	List(ctx context.Context, dir string) ([]string, error)
	// Sync makes creations, renames and removals in a directory durable.
	Sync(ctx context.Context, dir string) error
	// Free is the number of bytes that can still be written.
	Free(ctx context.Context) (int64, error)
}

// ErrNoSpace is returned by a write when the disk is full.
var ErrNoSpace = errors.New("no space left on the disk")

// ErrHollow is returned by a read of bytes that nobody holds, in the virtual
// world, and by WriteHollow in the real one.
var ErrHollow = errors.New("the range is hollow: it has a length and no bytes")

// CheckName refuses the names that a [Dir] does not serve: those that could lead
// out of it (absolute ones, and ".."), and those that are another name's second
// spelling (empty components, ".", a "/" at the end).
func CheckName(name string) error {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.Contains(part, "\x00") {
			return fmt.Errorf("file name %q: want components other than \"\", \".\" and \"..\", joined by \"/\"", name)
		}
	}
	return nil
}

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
