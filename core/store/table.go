package store

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Table is a table of records of type V under keys of type K.
//
// A record that was put, or that was got, is not changed afterwards: an
// implementation may hand out the value it holds. Put a changed copy.
type Table[K, V any] struct {
	schema *Schema
	key    func(K) string
	index  []func(V) string
}

// Index declares a further order in which a table can be scanned.
type Index[V any] struct {
	Name string
	Key  func(V) string
}

// Declare declares a table. key writes a key so that strings order as keys do:
// see [IntKey]. Changing V's JSON needs a new version and a decode function that
// still reads the older ones; nil reads every version as V.
func Declare[K, V any](name string, version int, key func(K) string, decode func(version int, b []byte) (V, error), indexes ...Index[V]) *Table[K, V] {
	t := &Table[K, V]{key: key}
	t.schema = &Schema{Name: name, Version: version}
	for _, x := range indexes {
		t.schema.Indexes = append(t.schema.Indexes, x.Name)
		t.index = append(t.index, x.Key)
	}
	t.schema.Keys = func(v any) []string { return t.keys(v.(V)) }
	t.schema.Decode = func(v int, b []byte) (any, error) {
		if v > version {
			return nil, fmt.Errorf("table %s: a record of version %d, this program knows %d: use the newer program", name, v, version)
		}
		if decode != nil {
			return decode(v, b)
		}
		var r V
		err := json.Unmarshal(b, &r)
		return r, err
	}
	return t
}

// IntKey writes a number that is not negative so that strings order as numbers do.
func IntKey(n int64) string {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := range b {
		b[i] = digits[n>>(60-4*i)&15]
	}
	return string(b[:])
}

// IntPairKey is [PairKey] of two numbers.
func IntPairKey(k [2]int64) string { return IntKey(k[0]) + "\x00" + IntKey(k[1]) }

// StringKey is the key of a table whose keys are strings.
func StringKey(s string) string { return s }

// PairKey joins the parts of a key; parts do not contain NUL.
func PairKey(parts ...string) string { return strings.Join(parts, "\x00") }

// PrefixEnd is the first key after all those that begin with prefix.
func PrefixEnd(prefix string) string { return prefix + "\xff" }

// Schema is the table as implementations see it.
func (t *Table[K, V]) Schema() *Schema { return t.schema }

// Get finds a record; ok is false if there is none.
func (t *Table[K, V]) Get(tx Tx, k K) (v V, ok bool, err error) {
	r, ok, err := tx.Get(t.schema, t.key(k))
	if err != nil || !ok {
		return v, false, err
	}
	return r.(V), true, nil
}

// Put writes a record.
func (t *Table[K, V]) Put(tx Tx, k K, v V) error {
	return tx.Put(t.schema, t.key(k), t.keys(v), v)
}

func (t *Table[K, V]) keys(v V) []string {
	if len(t.index) == 0 {
		return nil
	}
	keys := make([]string, len(t.index))
	for i, fn := range t.index {
		keys[i] = fn(v)
	}
	return keys
}

// Delete removes a record; it is no error if there is none.
func (t *Table[K, V]) Delete(tx Tx, k K) error { return tx.Delete(t.schema, t.key(k)) }

// All calls fn for the records in key order until it returns false.
func (t *Table[K, V]) All(tx Tx, fn func(v V) (more bool, err error)) error {
	return tx.Scan(t.schema, -1, "", "", func(_ string, v any) (bool, error) { return fn(v.(V)) })
}

// Range is All for from <= key < to.
func (t *Table[K, V]) Range(tx Tx, from, to K, fn func(v V) (more bool, err error)) error {
	return tx.Scan(t.schema, -1, t.key(from), t.key(to), func(_ string, v any) (bool, error) { return fn(v.(V)) })
}

// By calls fn for the records whose key in a named index is from <= k < to (to
// "" is no bound), in the index's order, until it returns false.
func (t *Table[K, V]) By(tx Tx, index, from, to string, fn func(v V) (more bool, err error)) error {
	for i, name := range t.schema.Indexes {
		if name == index {
			return tx.Scan(t.schema, i, from, to, func(_ string, v any) (bool, error) { return fn(v.(V)) })
		}
	}
	panic("store: table " + t.schema.Name + " has no index " + index)
}
