package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/btree"

	"capstan/core/store"
)

var (
	errTxEnded  = errors.New("the transaction has ended")
	errReadOnly = errors.New("a View changes nothing: use Update")
)

const degree = 32 // of the trees: a node fills a few cache lines

// record is not changed while a scan is under way, whose tree may share it with another:
// see [table.insert]. It is no larger than it must be: a planning run has millions.
type record struct {
	key   string
	index []string
	value any
	put   *putting
}

// putting is how a record was put.
type putting struct {
	version int    // of the schema
	json    string // of the value, if values are checked
}

// place is where a record stands in one index.
type place struct {
	at  string
	rec *record
}

type table struct {
	rows    *btree.BTreeG[*record]
	probe   record  // has the key that is looked for
	last    *record // that was found or put: what is got is often put next
	index   []*btree.BTreeG[place]
	keys    []string // the last record's in index, which others often share
	put     *putting // the last: others were put alike
	scans   int      // scans under way
	scanned bool     // a scan under way reads these trees: clone before a change
}

func newTable() *table {
	return &table{rows: btree.NewG(degree, func(a, b *record) bool { return a.key < b.key })}
}

func lessPlace(a, b place) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.rec.key < b.rec.key
}

// declare gives the table the indexes that the schema has more than the one
// before, and builds them from the values.
func (t *table) declare(s *store.Schema) {
	first := len(t.index)
	if first >= len(s.Indexes) {
		return
	}
	for range s.Indexes[first:] {
		t.index = append(t.index, btree.NewG(degree, lessPlace))
	}
	rows := t.rows.Clone()
	rows.Ascend(func(r *record) bool {
		n := *r
		n.index = s.Keys(r.value)
		t.set(r.key, &n)
		return true
	})
}

func (t *table) writable() {
	if !t.scanned {
		return
	}
	t.rows = t.rows.Clone()
	for i := range t.index {
		t.index[i] = t.index[i].Clone()
	}
	t.scanned = false
}

// insert puts a record in place of what is under its key; c is what was there. If the trees
// need not change, it is the record there that does.
func (t *table) insert(r record) (c change) {
	old := t.last
	if old == nil || old.key != r.key || t.scans > 0 || !slices.Equal(old.index, r.index) {
		n := r
		return t.set(r.key, &n)
	}
	c = change{t, r.key, old, *old}
	*old = r
	return c
}

// set puts r in place of what is under its key, or with nil deletes; c is what was there.
func (t *table) set(key string, r *record) (c change) {
	t.writable()
	t.last = r
	var old *record
	if r == nil {
		old, _ = t.rows.Delete(t.under(key))
	} else {
		old, _ = t.rows.ReplaceOrInsert(r)
	}
	c = change{t: t, key: key, old: old}
	if old != nil {
		c.was = *old
		for i, at := range old.index {
			if r == nil || i >= len(r.index) || r.index[i] != at { // else r takes its place
				t.index[i].Delete(place{at, old})
			}
		}
	}
	if r != nil {
		for i, at := range r.index {
			t.index[i].ReplaceOrInsert(place{at, r})
		}
	}
	return c
}

// get finds the record under a key; nil if there is none.
func (t *table) get(key string) *record {
	if t.last == nil || t.last.key != key {
		t.last, _ = t.rows.Get(t.under(key))
	}
	return t.last
}

// under is a record to look for what is under a key, until the next call.
func (t *table) under(key string) *record {
	t.probe.key = key
	return &t.probe
}

// change is what was under a key: a record and its contents, or nil.
type change struct {
	t   *table
	key string
	old *record
	was record
}

type tx struct {
	db    *DB
	write bool
	undo  []change
	err   error // why the transaction can do no more
}

func (x *tx) rollback() {
	for i := len(x.undo) - 1; i >= 0; i-- {
		c := &x.undo[i]
		if c.old != nil {
			*c.old = c.was
		}
		c.t.set(c.key, c.old)
	}
	x.forget()
}

// forget leaves what was changed as it is now, and the room for it to the next transaction.
func (x *tx) forget() {
	if x.undo == nil {
		return // done before
	}
	clear(x.undo)
	x.db.undo = x.undo[:0]
	x.undo = nil
}

func (x *tx) table(s *store.Schema, write bool) (*table, error) {
	switch {
	case x.err != nil:
		return nil, x.err
	case write && !x.write:
		return nil, fmt.Errorf("table %s: %w", s.Name, errReadOnly)
	}
	if t := x.db.declared[s]; t != nil {
		return t, nil
	}
	if x.db.known != nil && !x.db.known[s.Name] {
		return nil, fmt.Errorf("table %s was not declared when the database was opened", s.Name)
	}
	return x.db.declare(s), nil
}

// Get implements [store.Tx].
func (x *tx) Get(s *store.Schema, key string) (any, bool, error) {
	t, err := x.table(s, false)
	if err != nil {
		return nil, false, err
	}
	r := t.get(key)
	if r == nil {
		return nil, false, nil
	}
	v, err := x.value(s, r)
	return v, err == nil, err
}

// Put implements [store.Tx].
func (x *tx) Put(s *store.Schema, key string, index []string, v any) error {
	t, err := x.table(s, true)
	if err != nil {
		return err
	}
	if len(index) != len(t.index) {
		return fmt.Errorf("table %s: a record with %d index keys for %d indexes", s.Name, len(index), len(t.index))
	}
	json := ""
	if x.db.check {
		if json, err = fingerprint(s, key, v); err != nil {
			return err
		}
	}
	if t.put == nil || t.put.version != s.Version || t.put.json != json {
		t.put = &putting{s.Version, json}
	}
	if slices.Equal(index, t.keys) {
		index = t.keys
	}
	t.keys = index
	x.undo = append(x.undo, t.insert(record{key: key, index: index, value: v, put: t.put}))
	return nil
}

// Delete implements [store.Tx].
func (x *tx) Delete(s *store.Schema, key string) error {
	t, err := x.table(s, true)
	if err != nil {
		return err
	}
	if c := t.set(key, nil); c.old != nil {
		x.undo = append(x.undo, c)
	}
	return nil
}

// Scan implements [store.Tx]. The trees that it reads are cloned before fn
// changes the table, so that it shows the table as it was when it began.
func (x *tx) Scan(s *store.Schema, index int, from, to string, fn func(string, any) (bool, error)) error {
	t, err := x.table(s, false)
	if err != nil {
		return err
	}
	t.scans++
	t.scanned = true
	defer func() {
		if t.scans--; t.scans == 0 {
			t.scanned = false
		}
	}()
	visit := func(r *record) bool {
		var v any
		if v, err = x.value(s, r); err != nil {
			return false
		}
		var more bool
		more, err = fn(r.key, v)
		return more && err == nil
	}
	if index < 0 {
		t.rows.AscendGreaterOrEqual(&record{key: from}, func(r *record) bool {
			return (to == "" || r.key < to) && visit(r)
		})
		return err
	}
	t.index[index].AscendGreaterOrEqual(place{from, &record{}}, func(p place) bool {
		return (to == "" || p.at < to) && visit(p.rec)
	})
	return err
}

// value is what a reader of schema s gets of r.
func (x *tx) value(s *store.Schema, r *record) (any, error) {
	if x.db.check && r.put.json != "" {
		b, err := json.Marshal(r.value)
		if err != nil || string(b) != r.put.json {
			return nil, fmt.Errorf("table %s, key %q: the value was changed after it was put or got: put a changed copy", s.Name, r.key)
		}
	}
	if r.put.version == s.Version {
		return r.value, nil
	}
	b, err := json.Marshal(r.value)
	if err != nil {
		return nil, fmt.Errorf("table %s, key %q: %w", s.Name, r.key, err)
	}
	return s.Decode(r.put.version, b)
}

// fingerprint is v's JSON; it fails if v does not come back from it as it was.
func fingerprint(s *store.Schema, key string, v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("table %s, key %q: the value has no JSON: %w", s.Name, key, err)
	}
	back, err := s.Decode(s.Version, b)
	if err != nil {
		return "", fmt.Errorf("table %s, key %q: the value does not come back from its JSON: %w", s.Name, key, err)
	}
	again, err := json.Marshal(back)
	if err != nil || string(again) != string(b) {
		return "", fmt.Errorf("table %s, key %q: the value does not come back from its JSON as it was: put %s, got %s", s.Name, key, b, again)
	}
	return string(b), nil
}
