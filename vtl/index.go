package vtl

import (
	"fmt"
	"sort"
)

// objectKind is the kind of a logical object of a tape.
type objectKind uint8

const (
	blockObject objectKind = iota + 1
	hollowObject
	markObject
	badObject    // a record that its writer marked as bad: reading it is a medium error
	sealedObject // a block that is encrypted: what it takes is its sealed form
)

// filemarkBytes is what a filemark takes of the capacity.
const filemarkBytes = 512

// maxRuns bounds the index of one cartridge: 64 bytes each.
const maxRuns = 1 << 22

// run is a number of equal objects one after another. Backups write long runs of
// equal blocks, so the index of a whole cartridge is a few runs for each file.
type run struct {
	kind  objectKind
	first int64 // logical number of its first object
	count int64
	size  int64 // bytes of each object; 0 for filemarks
	at    int64 // bytes of capacity used before it
	marks int64 // filemarks before it
	off   int64 // where its first record begins in the body
}

// index finds a tape's objects by number.
type index struct {
	runs []run
	// stride is what an object takes in the body: payload and framing.
	stride func(kind objectKind, size int64) int64
	// ratio is how well blocks compress, in hundredths; 0 is not at all.
	ratio int64
}

// stored is what a block takes of the capacity.
func (x *index) stored(size int64) int64 {
	if x.ratio == 0 {
		return size
	}
	return max(scaled(size, 100, x.ratio), 1)
}

// cost is what one object of a run takes of the capacity.
func (x *index) cost(r *run) int64 {
	if r.kind == markObject {
		return filemarkBytes
	}
	return x.stored(r.size)
}

// place is the state of a tape before an object.
type place struct {
	at, marks, off int64
}

// end is the number of objects, which is the number of the end of data.
func (x *index) end() int64 {
	if len(x.runs) == 0 {
		return 0
	}
	r := &x.runs[len(x.runs)-1]
	return r.first + r.count
}

// find is the run that holds an object below the end.
func (x *index) find(object int64) int {
	return sort.Search(len(x.runs), func(i int) bool { return x.runs[i].first > object }) - 1
}

// before is the place of an object, or of the end.
func (x *index) before(object int64) place {
	i := x.find(object)
	if i < 0 {
		return place{}
	}
	r := &x.runs[i]
	n := object - r.first
	p := place{at: r.at + n*x.cost(r), marks: r.marks, off: r.off + n*x.stride(r.kind, r.size)}
	if r.kind == markObject {
		p.marks += n
	}
	return p
}

// used is the capacity used up to the end of data, in bytes.
func (x *index) used() int64 { return x.before(x.end()).at }

// add appends objects at the end.
func (x *index) add(kind objectKind, size, count int64) error {
	if n := len(x.runs); n > 0 {
		r := &x.runs[n-1]
		if r.kind == kind && r.size == size {
			r.count += count
			return nil
		}
		if n >= maxRuns {
			return fmt.Errorf("more than %d runs of records on one cartridge", maxRuns)
		}
	}
	p := x.before(x.end())
	x.runs = append(x.runs, run{kind: kind, first: x.end(), count: count, size: size, at: p.at, marks: p.marks, off: p.off})
	return nil
}

// cut forgets every object from this one on.
func (x *index) cut(object int64) {
	i := x.find(object)
	if i < 0 || object >= x.end() {
		return
	}
	n := object - x.runs[i].first
	x.runs[i].count = n
	if n == 0 {
		i--
	}
	x.runs = x.runs[:i+1]
}

// mark is the number of the filemark that has n filemarks before it; ok is false
// if there are not so many.
func (x *index) mark(n int64) (object int64, ok bool) {
	i := sort.Search(len(x.runs), func(i int) bool {
		r := &x.runs[i]
		m := r.marks
		if r.kind == markObject {
			m += r.count
		}
		return m > n
	})
	if n < 0 || i == len(x.runs) {
		return 0, false
	}
	return x.runs[i].first + n - x.runs[i].marks, true
}
