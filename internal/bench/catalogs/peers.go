package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	_ "modernc.org/sqlite"

	"capstan/core/catalog"
	"capstan/core/catalog/catalogtest"
)

// peer is a store that holds the entries by directory and name.
type peer interface {
	add(es []catalog.Entry) error
	// settle ends the writing: what lies on disk then is what counts.
	settle() error
	lookup(path string) error
	first(dir string) error
	walk() (n int, err error)
	close() error
}

// measure does with a peer what is done with the files file.
func (b *bench) measure(open func(cache int64) (peer, error)) error {
	p, err := open(64 << 20)
	if err != nil {
		return err
	}
	var w watch
	var n int
	err = b.memory(peakWrite, true, func() error {
		n, err = b.generate(catalogtest.Sorted, &w, p.add)
		if err != nil {
			return err
		}
		w.start()
		defer w.stop()
		return p.settle()
	})
	if err != nil {
		return err
	}
	b.rate(writeSorted, n, &w)
	if err := p.close(); err != nil {
		return err
	}
	bytes, err := size(b.dir)
	if err != nil {
		return err
	}
	b.print(bytesAll, float64(bytes)/float64(n), 0)
	paths, dirs, err := b.sample(500_000)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		what  string
		bytes int64
	}{{lookups64, 64 << 20}, {lookups512, 512 << 20}} {
		if p, err = open(c.bytes); err != nil {
			return err
		}
		if c.what == lookups512 {
			var w watch
			w.start()
			n, err := p.walk()
			w.stop()
			if err != nil {
				return err
			}
			b.rate(walking, n, &w)
		}
		err := b.lookups(c.what, paths, p.lookup)
		if err == nil && c.what == lookups64 {
			err = b.firsts(dirs, p.first)
		}
		if err := errors.Join(err, p.close()); err != nil {
			return err
		}
	}
	return nil
}

func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:i], path[i+1:]
}

// sqlite keeps a table of directories and one of entries, clustered by directory
// and name, written in one transaction without a journal.
func (b *bench) sqlite() error {
	return b.measure(func(cache int64) (peer, error) {
		db, err := sql.Open("sqlite", fmt.Sprintf("file:%s?_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)&_pragma=cache_size(-%d)",
			filepath.Join(b.dir, "entries.db"), cache>>10))
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(1)
		s := &sqliteStore{db: db, dirs: map[string]int64{}}
		_, err = db.Exec(`CREATE TABLE IF NOT EXISTS dir (id INTEGER PRIMARY KEY, path BLOB UNIQUE);
			CREATE TABLE IF NOT EXISTS entry (dir INTEGER, name BLOB, type, mode, uid, gid, size, mtime, ctime, dev, ino, xhash, crc, offset, head, data,
			PRIMARY KEY (dir, name)) WITHOUT ROWID`)
		if err == nil {
			s.find, err = db.Prepare(`SELECT type, mode, uid, gid, size, mtime, ctime, dev, ino, xhash, crc, offset, head, data FROM entry
				WHERE dir = (SELECT id FROM dir WHERE path = ?) AND name = ?`)
		}
		if err == nil {
			s.least, err = db.Prepare(`SELECT name, type, mode, uid, gid, size, mtime FROM entry WHERE dir = (SELECT id FROM dir WHERE path = ?) ORDER BY name LIMIT 1`)
		}
		return s, err
	})
}

type sqliteStore struct {
	db          *sql.DB
	tx          *sql.Tx
	insert      *sql.Stmt
	find, least *sql.Stmt
	dirs        map[string]int64
}

func (s *sqliteStore) add(es []catalog.Entry) (err error) {
	if s.tx == nil {
		if s.tx, err = s.db.Begin(); err != nil {
			return err
		}
		if s.insert, err = s.tx.Prepare(`INSERT INTO entry VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`); err != nil {
			return err
		}
	}
	for i := range es {
		e := &es[i]
		dir, name := split(e.Path)
		id, ok := s.dirs[dir]
		if !ok {
			clear(s.dirs) // entries come in order: a directory does not come again
			r, err := s.tx.Exec(`INSERT INTO dir (path) VALUES (?)`, []byte(dir))
			if err != nil {
				return err
			}
			if id, err = r.LastInsertId(); err != nil {
				return err
			}
			s.dirs[dir] = id
		}
		_, err := s.insert.Exec(id, []byte(name), int64(e.Type), e.Mode, e.UID, e.GID, e.Size, int64(e.MTime), int64(e.CTime),
			int64(e.Dev), int64(e.Ino), int64(e.XHash), e.CRC, e.Offset, e.HeadLen, e.DataLen)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Path, err)
		}
	}
	return nil
}

func (s *sqliteStore) settle() error { return s.tx.Commit() }

func (s *sqliteStore) lookup(path string) error {
	dir, name := split(path)
	var v [14]int64
	to := make([]any, len(v))
	for i := range v {
		to[i] = &v[i]
	}
	return s.find.QueryRow([]byte(dir), []byte(name)).Scan(to...)
}

func (s *sqliteStore) first(dir string) error {
	if dir == "/" {
		dir = ""
	}
	var name []byte
	var v [6]int64
	return s.least.QueryRow([]byte(dir)).Scan(&name, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5])
}

func (s *sqliteStore) walk() (n int, err error) {
	rows, err := s.db.Query(`SELECT name, type, mode, uid, gid, size, mtime, ctime, dev, ino, xhash, crc, offset, head, data FROM entry ORDER BY dir, name`)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var name sql.RawBytes
	var v [14]int64
	to := []any{&name}
	for i := range v {
		to = append(to, &v[i])
	}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return n, err
		}
		n++
	}
	return n, rows.Err()
}

func (s *sqliteStore) close() error { return s.db.Close() }

// pebble keeps rows under directory, NUL, name.
func (b *bench) pebble() error {
	return b.measure(func(cache int64) (peer, error) {
		c := pebble.NewCache(cache)
		defer c.Unref()
		o := &pebble.Options{Cache: c, DisableWAL: true, Logger: quiet{}, FormatMajorVersion: pebble.FormatNewest}
		// For all levels: tables that come in order are moved down, not written again.
		o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.UniformDBCompressionSettings(block.GoodCompression) })
		db, err := pebble.Open(filepath.Join(b.dir, "pebble"), o)
		return &pebbleStore{db: db}, err
	})
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

type pebbleStore struct {
	db       *pebble.DB
	key, row []byte
}

func (s *pebbleStore) keyOf(dir, name string) []byte {
	s.key = append(append(append(s.key[:0], dir...), 0), name...)
	return s.key
}

func (s *pebbleStore) add(es []catalog.Entry) error {
	b := s.db.NewBatch()
	for i := range es {
		e := es[i]
		key := s.keyOf(split(e.Path))
		e.Path = "/" // it is the key
		s.row = appendRow(s.row[:0], &e)
		if err := b.Set(key, s.row, nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.NoSync)
}

func (s *pebbleStore) settle() error {
	return errors.Join(s.db.Flush(), s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, true))
}

func (s *pebbleStore) lookup(path string) error {
	v, c, err := s.db.Get(s.keyOf(split(path)))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	_, err = parseRow(v)
	return errors.Join(err, c.Close())
}

func (s *pebbleStore) first(dir string) error {
	if dir == "/" {
		dir = ""
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: append([]byte(dir), 0), UpperBound: append([]byte(dir), 1)})
	if err != nil {
		return err
	}
	if !it.First() {
		err = fmt.Errorf("%s has no entry", dir)
	} else {
		_, err = parseRow(it.Value())
	}
	return errors.Join(err, it.Close())
}

func (s *pebbleStore) walk() (n int, err error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		_, err = parseRow(it.Value())
		n++
	}
	return n, errors.Join(err, it.Error(), it.Close())
}

func (s *pebbleStore) close() error { return s.db.Close() }
