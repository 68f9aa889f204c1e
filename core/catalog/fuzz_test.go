package catalog

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"capstan/core/store/storetest"
)

// realistic makes n entries of a home-like tree.
func realistic(n int) (es []Entry) {
	for i := range n {
		e := entry(fmt.Sprintf("/home/user%d/src/module%04d/file_%05d.go", i%3, i/50, i), int64(i)*2048)
		e.Ino, e.Dev, e.CRC = uint64(1_000_000+i*3), 2049, uint32(i)
		es = append(es, e)
	}
	return append(es, Entry{Path: "/home/gone", Type: Gone}, Entry{Path: "/home/user1/src/", Type: Gone})
}

// FuzzOpen opens and walks any bytes: an error, never a panic.
func FuzzOpen(f *testing.F) {
	ctx := storetest.Solo()
	d := newTestDir()
	seal(ctx, f, d, Options{Block: 100}, realistic(40))
	f.Add(d.files["img/x.f"].b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newTestDir()
		d.files["img/x.f"] = &testFile{d: d, b: b}
		r, err := Open(ctx, d, "img/x.f", nil)
		if err != nil {
			return
		}
		err = r.Verify(ctx)
		n := int64(0)
		walkErr := r.Walk(ctx, "/", func(Entry) (bool, error) { n++; return true, nil })
		if err == nil && (walkErr != nil || n != r.Summary().Entries) {
			t.Errorf("verified, but walk gives %d of %d: %v", n, r.Summary().Entries, walkErr)
		}
	})
}

// FuzzRun decodes any bytes as a chunk of a run, past its checksum: keys come out in
// order, and what comes out is of the chunk.
func FuzzRun(f *testing.F) {
	r := &run{}
	for _, e := range realistic(3) {
		dir, name := split(e.Path)
		if _, err := r.add(appendKey(nil, dir, name), appendAttributes(nil, &e)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(r.buf)
	f.Fuzz(func(t *testing.T, b []byte) {
		var in input
		var last []byte
		for c := (cursor{b: b}); len(c.b) > 0; {
			if in.parse(&c) != nil {
				break
			}
			if bytes.Compare(last, in.key) > 0 || sharedPrefix(last, in.key) != in.shared || len(in.key) > len(b) {
				t.Fatalf("%q after %q, which shares %d", in.key, last, in.shared)
			}
			last = append(last[:0], in.key...)
			impliedRow(in.row)
			keyPath(nil, in.key)
		}
	})
}

// FuzzBlocks decodes any bytes as what is in a block, past the checksums.
func FuzzBlocks(f *testing.F) {
	var w blockWriter
	w.reset()
	for _, e := range realistic(3) {
		w.add(&e)
	}
	b, _ := w.appendTo(nil)
	f.Add(b)
	f.Add(longBlock())
	w.reset()
	long := entry("/"+strings.Repeat("d", MaxPath/2)+"/"+strings.Repeat("f", MaxPath/2), 0)
	w.add(&long)
	b, _ = w.appendTo(nil)
	f.Add(b)
	f.Add(appendIndex(nil, 1, []ref{{first: "/a", offset: 16, length: 100}, {first: "/b", offset: 116, length: 100}}))
	e := entry("/a", 0)
	f.Add(appendAttributes(nil, &e))
	f.Add((&segment{before: ref{offset: 16, length: 20}, firsts: []string{"/a", "/b"}, chunks: make([]ref, trigrams/chunkRows(1))}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseSegment(b, 1<<20); err == nil {
			for i := range s.chunks {
				if err := s.chunks[i].check(1 << 20); err != nil {
					t.Errorf("a segment refers to %v", err)
				}
			}
		}
		if p, err := NewPattern(string(b), true); err == nil {
			p.matches([]byte("/a"), []byte("b"))
			p.trigrams(func(h uint32) {
				if h >= trigrams {
					t.Errorf("row %d of %d", h, trigrams)
				}
			})
		}
		checkSeek(t, b)
		checkMarks(t, b)
		var r blockReader
		last, dir, name := "", "", ""
		for more, err := r.init(b) == nil, error(nil); more; {
			if more, err = r.next(); !more || err != nil {
				break
			}
			if s := r.shared; s >= 0 && (dir != string(r.dir) || sharedPrefix(name, r.name) != s) {
				t.Errorf("%q in %q and %q in %q: they are said to share %d bytes", name, dir, r.name, r.dir, s)
			}
			dir, name = string(r.dir), string(r.name)
			if r.load() != nil {
				break
			}
			e := r.entry()
			if err := e.check(); err != nil {
				t.Errorf("an entry that is not valid came out: %v", err)
			}
			if last != "" && comparePaths(last, e.Path) >= 0 {
				t.Errorf("%q came after %q", e.Path, last)
			}
			last = e.Path
		}
		if refs, err := decodeIndex(b, 1, 1<<20); err == nil && len(refs) == 0 {
			t.Error("an index block of nothing")
		}
		c := cursor{b: b}
		if e := c.attributes(); c.err == nil {
			if c.b = appendAttributes(nil, &e); c.attributes() != e || c.err != nil {
				t.Errorf("%+v does not come back: %v", e, c.err)
			}
		}
	})
}

// checkSeek looks for some entries of a block, which may be damaged: those it has and
// ones beside them. What is found is at or after what was asked for, and no longer than any path.
func checkSeek(t *testing.T, block []byte) {
	t.Helper()
	var all, r blockReader
	if all.init(block) != nil {
		return
	}
	for range 8 {
		more, bad := all.next()
		if !more && bad == nil {
			return
		}
		for _, more := range []string{"", "!", "\xff"} {
			dir, name := string(all.dir), string(all.name)+more
			if err := r.init(block); err != nil {
				t.Fatalf("it was no error before: %v", err)
			}
			ok, err := r.seek(dir, name)
			if err != nil {
				continue // further on it is damaged
			}
			if bad == nil && more == "" && (!ok || string(r.dir) != dir || string(r.name) != name) {
				t.Errorf("%q in %q was not found, but %q in %q, %v", name, dir, r.name, r.dir, ok)
			}
			if ok && (len(r.dir)+1+len(r.name) > MaxPath+1 || compareDirs(r.dir, dir) < 0 || string(r.dir) == dir && string(r.name) < name) {
				t.Errorf("seek %.99q in %.99q: %.99q in %.99q", name, dir, r.name, r.dir)
			}
		}
		if bad != nil {
			return // the path that was refused has been looked for
		}
	}
}

// longBlock is one that has marks.
func longBlock() []byte {
	es := realistic(10 * markEvery)
	slices.SortFunc(es, func(a, b Entry) int { return comparePaths(a.Path, b.Path) })
	var w blockWriter
	w.reset()
	for i := range es {
		w.add(&es[i])
	}
	b, _ := w.appendTo(nil)
	return b
}

func TestMarks(t *testing.T) {
	b := longBlock()
	if _, marks := marked(b); len(marks) != 10*markLen {
		t.Errorf("%d bytes of marks, want %d", len(marks), 10*markLen)
	}
	checkMarks(t, b)
}

// checkMarks looks for each entry of a block, which may be damaged, from its marks: it is
// the one that is found without them.
func checkMarks(t *testing.T, block []byte) {
	t.Helper()
	var all, r blockReader
	if all.init(block) != nil {
		return
	}
	whole, marks := marked(block)
	for more, err := all.next(); more && err == nil && all.load() == nil; more, err = all.next() {
		if err := r.begin(whole, marks); err != nil {
			t.Fatalf("it was no error without marks: %v", err)
		}
		if ok, err := r.seek(string(all.dir), string(all.name)); !ok || err != nil {
			t.Fatalf("%q in %q is not found: %v", all.name, all.dir, err)
		}
		if err := r.load(); err != nil || r.entry() != all.entry() {
			t.Fatalf("%+v, %v; without marks %+v", r.entry(), err, all.entry())
		}
	}
}
