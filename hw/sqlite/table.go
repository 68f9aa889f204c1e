package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"capstan/core/store"
)

// pageRows is how many records a scan reads at once: it holds no statement open
// while fn runs.
const pageRows = 256

// table is a declared table with the statements that use it.
type table struct {
	schema *store.Schema
	get    pair
	put    pair
	del    pair
	scans  []scanPair // the key's order, then each index's
}

// pair is one statement for the writer's connection and one for the readers'.
type pair struct{ writer, reader *sql.Stmt }

// scanPair reads a page from (index key, key) on, without and with an end.
type scanPair struct{ open, bounded pair }

var identifier = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func newTable(s *store.Schema) (*table, error) {
	if !identifier.MatchString(s.Name) || strings.HasPrefix(s.Name, "sqlite_") || strings.HasPrefix(s.Name, "capstan_") {
		return nil, fmt.Errorf("table %q: want a name of lower case letters, digits and \"_\"", s.Name)
	}
	for _, name := range s.Indexes {
		if !identifier.MatchString(name) || slices.Contains([]string{"key", "version", "value"}, name) {
			return nil, fmt.Errorf("table %s: index %q: want a name of lower case letters, digits and \"_\", other than key, version and value", s.Name, name)
		}
	}
	return &table{schema: s}, nil
}

// create makes the table and its indexes as far as they are not there.
func (t *table) create(ctx context.Context, db *sql.DB) error {
	x, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := t.createIn(ctx, x); err != nil {
		return errors.Join(err, x.Rollback())
	}
	return x.Commit()
}

func (t *table) createIn(ctx context.Context, x *sql.Tx) error {
	s := t.schema
	var version int
	err := x.QueryRowContext(ctx, `SELECT version FROM capstan_table WHERE name = ?`, s.Name).Scan(&version)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if version > s.Version {
		return fmt.Errorf("it has records of version %d, this program knows %d: use the newer program", version, s.Version)
	}
	_, err = x.ExecContext(ctx, `INSERT INTO capstan_table (name, version) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET version = excluded.version`, s.Name, s.Version)
	if err != nil {
		return err
	}
	_, err = x.ExecContext(ctx, fmt.Sprintf(
		`CREATE TABLE IF NOT EXISTS %q (key TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL)`, s.Name))
	if err != nil {
		return err
	}
	added, err := t.addColumns(ctx, x)
	if err != nil || !added {
		return err
	}
	return t.fill(ctx, x)
}

// addColumns adds the index columns that are missing, with their indexes.
func (t *table) addColumns(ctx context.Context, x *sql.Tx) (added bool, err error) {
	for _, name := range t.schema.Indexes {
		var n int
		err := x.QueryRowContext(ctx, `SELECT count(*) FROM pragma_table_info(?) WHERE name = ?`, t.schema.Name, name).Scan(&n)
		if err != nil {
			return false, err
		}
		if n > 0 {
			continue
		}
		added = true
		for _, q := range []string{
			fmt.Sprintf(`ALTER TABLE %q ADD COLUMN %q TEXT NOT NULL DEFAULT ''`, t.schema.Name, name),
			fmt.Sprintf(`CREATE INDEX %q ON %q (%q, key)`, t.schema.Name+"_by_"+name, t.schema.Name, name),
		} {
			if _, err := x.ExecContext(ctx, q); err != nil {
				return false, err
			}
		}
	}
	return added, nil
}

// fill computes the index columns of the records that are there.
func (t *table) fill(ctx context.Context, x *sql.Tx) error {
	page, err := x.PrepareContext(ctx, t.scanQuery(-1, false))
	if err != nil {
		return err
	}
	set, err := x.PrepareContext(ctx, t.fillQuery())
	if err != nil {
		return errors.Join(err, page.Close())
	}
	s := &scan{t: t, stmt: page, index: -1}
	for more := true; more; {
		var r record
		if r, more, err = s.next(); err != nil || !more {
			break
		}
		v, e := r.decode(t.schema)
		if err = e; err != nil {
			break
		}
		args := []any{}
		for _, k := range t.schema.Keys(v) {
			args = append(args, k)
		}
		if _, err = set.ExecContext(ctx, append(args, r.key)...); err != nil {
			break
		}
	}
	return errors.Join(err, page.Close(), set.Close())
}

func (t *table) fillQuery() string {
	var set []string
	for _, name := range t.schema.Indexes {
		set = append(set, fmt.Sprintf("%q = ?", name))
	}
	return fmt.Sprintf(`UPDATE %q SET %s WHERE key = ?`, t.schema.Name, strings.Join(set, ", "))
}

// scanQuery reads a page of an index from (index key, key) on; every column is
// compared by its bytes. The next page begins at the last key with NUL behind it,
// which is the key that follows it.
func (t *table) scanQuery(index int, bounded bool) string {
	order, from, column := "key", "key >= ?1 AND key >= ?2", "key"
	if index >= 0 {
		column = fmt.Sprintf("%q", t.schema.Indexes[index])
		order = column + ", key"
		from = fmt.Sprintf("(%s, key) >= (?1, ?2)", column)
	}
	end := ""
	if bounded {
		end = fmt.Sprintf(" AND %s < ?3", column)
	}
	return fmt.Sprintf(`SELECT %s, key, version, value FROM %q WHERE %s%s ORDER BY %s LIMIT %d`,
		column, t.schema.Name, from, end, order, pageRows)
}

func (t *table) putQuery() string {
	columns, marks := "key, version, value", "?, ?, ?"
	set := "version = excluded.version, value = excluded.value"
	for _, name := range t.schema.Indexes {
		columns += fmt.Sprintf(", %q", name)
		marks += ", ?"
		set += fmt.Sprintf(", %q = excluded.%q", name, name)
	}
	return fmt.Sprintf(`INSERT INTO %q (%s) VALUES (%s) ON CONFLICT (key) DO UPDATE SET %s`, t.schema.Name, columns, marks, set)
}

func (t *table) prepare(ctx context.Context, db *DB) error {
	var errs error
	prepare := func(query string) (p pair) {
		var err error
		p.writer, err = db.writer.PrepareContext(ctx, query)
		errs = errors.Join(errs, err)
		p.reader, err = db.reader.PrepareContext(ctx, query)
		errs = errors.Join(errs, err)
		return p
	}
	t.get = prepare(fmt.Sprintf(`SELECT version, value FROM %q WHERE key = ?`, t.schema.Name))
	t.put = prepare(t.putQuery())
	t.del = prepare(fmt.Sprintf(`DELETE FROM %q WHERE key = ?`, t.schema.Name))
	for i := -1; i < len(t.schema.Indexes); i++ {
		t.scans = append(t.scans, scanPair{prepare(t.scanQuery(i, false)), prepare(t.scanQuery(i, true))})
	}
	return errs
}

// record is a row as it is stored.
type record struct {
	at, key string
	version int
	value   []byte
}

func (r *record) decode(s *store.Schema) (any, error) {
	v, err := s.Decode(r.version, r.value)
	if err != nil {
		return nil, fmt.Errorf("table %s, key %q: %w", s.Name, r.key, err)
	}
	return v, nil
}

// tx implements [store.Tx].
type tx struct {
	db    *DB
	sql   *sql.Tx
	write bool
	scans []*scan // under way
	err   error   // the first failure of a write
}

func (x *tx) table(s *store.Schema, write bool) (*table, error) {
	t := x.db.tables[s.Name]
	if t == nil {
		return nil, fmt.Errorf("table %s was not declared when the database was opened", s.Name)
	}
	if write && !x.write {
		return nil, fmt.Errorf("table %s: a View changes nothing: use Update", s.Name)
	}
	return t, nil
}

func (x *tx) stmt(p pair) *sql.Stmt {
	if x.write {
		return x.sql.Stmt(p.writer)
	}
	return x.sql.Stmt(p.reader)
}

// Get implements [store.Tx].
func (x *tx) Get(s *store.Schema, key string) (any, bool, error) {
	t, err := x.table(s, false)
	if err != nil {
		return nil, false, err
	}
	r := record{key: key}
	err = x.stmt(t.get).QueryRow(key).Scan(&r.version, &r.value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("table %s: get %q: %w", s.Name, key, err)
	}
	v, err := r.decode(s)
	return v, err == nil, err
}

// Put implements [store.Tx].
func (x *tx) Put(s *store.Schema, key string, index []string, v any) error {
	t, err := x.table(s, true)
	if err != nil {
		return err
	}
	if len(index) != len(s.Indexes) {
		return fmt.Errorf("table %s: a record with %d index keys for %d indexes", s.Name, len(index), len(s.Indexes))
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("table %s, key %q: the value has no JSON: %w", s.Name, key, err)
	}
	args := []any{key, s.Version, string(b)}
	for _, k := range index {
		args = append(args, k)
	}
	return x.change(t, t.put, args...)
}

// Delete implements [store.Tx].
func (x *tx) Delete(s *store.Schema, key string) error {
	t, err := x.table(s, true)
	if err != nil {
		return err
	}
	return x.change(t, t.del, key)
}

func (x *tx) change(t *table, p pair, args ...any) error {
	for _, s := range x.scans {
		if s.t != t {
			continue
		}
		if err := s.readAll(); err != nil {
			return err
		}
	}
	if _, err := x.stmt(p).Exec(args...); err != nil {
		x.err = fmt.Errorf("table %s: write %q: %w", t.schema.Name, args[0], err)
		return x.err
	}
	return nil
}

// Scan implements [store.Tx].
func (x *tx) Scan(s *store.Schema, index int, from, to string, fn func(string, any) (bool, error)) error {
	t, err := x.table(s, false)
	if err != nil {
		return err
	}
	p := t.scans[index+1].open
	if to != "" {
		p = t.scans[index+1].bounded
	}
	sc := &scan{t: t, stmt: x.stmt(p), index: index, from: from, to: to}
	x.scans = append(x.scans, sc)
	defer func() { x.scans = x.scans[:len(x.scans)-1] }()
	for {
		r, ok, err := sc.next()
		if err != nil || !ok {
			return err
		}
		v, err := r.decode(s)
		if err != nil {
			return err
		}
		if more, err := fn(r.key, v); !more || err != nil {
			return err
		}
	}
}

// scan is the state of a Scan: the rows read and not yet given, and where the
// next page begins.
type scan struct {
	t         *table
	stmt      *sql.Stmt
	index     int
	from, key string
	to        string
	rows      []record
	end       bool
}

func (s *scan) next() (r record, ok bool, err error) {
	if len(s.rows) == 0 && !s.end {
		if err := s.page(); err != nil {
			return r, false, err
		}
	}
	if len(s.rows) == 0 {
		return r, false, nil
	}
	r, s.rows = s.rows[0], s.rows[1:]
	return r, true, nil
}

// readAll reads what is left, before the table is changed.
func (s *scan) readAll() error {
	for !s.end {
		if err := s.page(); err != nil {
			return err
		}
	}
	return nil
}

func (s *scan) page() error {
	args := []any{s.from, s.key}
	if s.to != "" {
		args = append(args, s.to)
	}
	rows, err := s.stmt.Query(args...)
	if err != nil {
		return fmt.Errorf("table %s: scan: %w", s.t.schema.Name, err)
	}
	n := 0
	for rows.Next() {
		var r record
		if err = rows.Scan(&r.at, &r.key, &r.version, &r.value); err != nil {
			break
		}
		s.rows = append(s.rows, r)
		s.from, s.key = r.at, r.key+"\x00"
		n++
	}
	s.end = n < pageRows
	if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("table %s: scan: %w", s.t.schema.Name, err)
	}
	return nil
}
