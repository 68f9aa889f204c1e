package catalog

import (
	"fmt"
	"math"
)

// outline is what a look-up begins with in a block: where the columns are, the
// classes, and marks. It is made, in memory, of blocks that are asked for again.
type outline struct {
	entries int
	begins  [columns + 1]uint32 // of the columns in the block; the last is its end
	classes []class
	marks   []mark
}

// A mark says how far the columns of numbers are decoded after some entries: who
// looks an entry up begins at the last mark before it.
type mark struct {
	at  [columns - colClass]uint16
	sec int64
	end int64
	ino uint64
}

const (
	markEvery = 16 // entries
	markCost  = 2*(columns-colClass) + 28
	classCost = 24
)

func (o *outline) cost() int {
	if o == nil {
		return 0
	}
	return 4*(columns+1) + 80 + len(o.classes)*classCost + len(o.marks)*markCost
}

// parse reads all but the marks from a block.
func (o *outline) parse(raw []byte) error {
	c := cursor{b: raw}
	o.entries = c.count(maxBlockEntries)
	at := 0
	for i := range columns {
		o.begins[i] = uint32(at)
		at += c.count(len(raw))
	}
	if c.err != nil {
		return c.err
	}
	if o.entries == 0 || at != len(c.b) {
		return fmt.Errorf("a block of %d entries with %d bytes of columns where %d were written", o.entries, len(c.b), at)
	}
	o.begins[columns] = uint32(at)
	head := uint32(len(raw) - at)
	for i := range o.begins {
		o.begins[i] += head
	}
	return o.readClasses(raw[o.begins[colClasses]:o.begins[colClasses+1]])
}

func (o *outline) readClasses(b []byte) error {
	o.classes = o.classes[:0]
	c := cursor{b: b}
	for len(c.b) > 0 {
		k := class{typ: Type(c.byte()), flags: c.byte(), damage: c.byte()}
		k.mode, k.uid, k.gid, k.dev = c.uint32(), c.uint32(), c.uint32(), c.uint()
		if k.flags&^allFlags != 0 {
			c.fail(fmt.Errorf("unknown flags %#x of a class", k.flags))
		}
		o.classes = append(o.classes, k)
	}
	return c.err
}

// outlineOf makes the outline of a block; one that is damaged gets none.
func outlineOf(raw []byte) *outline {
	var r blockReader
	if r.init(raw) != nil {
		return nil
	}
	o := new(outline)
	*o = r.own // which has the rest of r with it
	if len(raw) > math.MaxUint16 {
		return o // marks would not reach all of it
	}
	whole := r.col
	for n := r.left; n > markEvery; n -= markEvery {
		r.skip(markEvery)
		m := mark{sec: r.sec, end: r.end, ino: r.num.Ino}
		for i := range m.at {
			c := &r.col[colClass+i]
			if c.err != nil {
				return nil
			}
			m.at[i] = uint16(len(whole[colClass+i].b) - len(c.b))
		}
		o.marks = append(o.marks, m)
	}
	return o
}

// jump goes to the last mark before the current entry, if no numbers are decoded yet.
func (r *blockReader) jump() {
	k := (r.behind - 1) / markEvery
	if r.passed != r.behind || k == 0 || k > len(r.marks) {
		return
	}
	m := &r.marks[k-1]
	for i, at := range m.at {
		r.col[colClass+i].advance(int(at))
	}
	r.sec, r.end, r.num.Ino = m.sec, m.end, m.ino
	r.behind -= k * markEvery
}
