package catalog

import (
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"capstan/core/rt"
	"capstan/core/store"
)

// An external merge sort: rows are gathered in memory, written sorted as runs,
// and the runs merged. A merge of fanIn runs of one level makes one run of the
// next, so that a row is written once for each level and the last merge has few
// inputs whatever the number of entries.
const (
	fanIn     = 32
	chunkRaw  = 128 << 10 // rows in one piece of a run, in bytes before compression
	chunkHead = 12        // length before compression, length compressed, CRC-32C of the latter
)

// row is one spooled entry.
type row struct {
	seq  uint64 // order of addition; the greatest of one path counts
	path string
	body []byte // as AppendEntry wrote it
}

func (r *row) compare(s *row) int {
	if c := comparePaths(r.path, s.path); c != 0 {
		return c
	}
	switch {
	case r.seq < s.seq:
		return -1
	case r.seq > s.seq:
		return 1
	}
	return 0
}

// rowBuffer holds rows in memory.
type rowBuffer struct {
	rows  []row
	bytes int
}

const rowCost = 72 // memory of a row beside its body

func (b *rowBuffer) size() int { return b.bytes + len(b.rows)*rowCost }

func (b *rowBuffer) add(seq uint64, e *Entry) {
	body := AppendEntry(make([]byte, 0, 64+len(e.Path)+len(e.Link)), e)
	b.rows = append(b.rows, row{seq, e.Path, body})
	b.bytes += cap(body) + len(e.Path)
}

func (b *rowBuffer) sort() {
	slices.SortFunc(b.rows, func(x, y row) int { return x.compare(&y) })
}

// run is a file of sorted rows.
type run struct {
	name  string
	file  store.File
	size  int64
	level int
}

// spool writes the rows in memory as a run, and merges runs that have become many.
func (w *Writer) spool(ctx context.Context) error {
	w.mem.sort()
	if err := w.writeRun(ctx, nil, 0); err != nil {
		return err
	}
	w.mem = rowBuffer{rows: w.mem.rows[:0]}
	for level := 0; ; level++ {
		var same, others []*run
		for _, r := range w.runs {
			if r.level == level {
				same = append(same, r)
			} else {
				others = append(others, r)
			}
		}
		if len(same) < fanIn {
			return nil
		}
		if err := w.writeRun(ctx, same, level+1); err != nil {
			return err
		}
		merged := w.runs[len(w.runs)-1]
		w.runs = same
		if err := w.removeRuns(ctx); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		w.runs = append(others, merged)
	}
}

// writeRun writes a run from the rows in memory (level 0) or from other runs.
func (w *Writer) writeRun(ctx context.Context, from []*run, level int) error {
	w.made++
	name := runName(w.name, w.made)
	f, err := w.dir.Create(ctx, name)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	out := &run{name: name, file: f, level: level}
	var chunk []byte
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		err := out.append(chunk)
		chunk = chunk[:0]
		return err
	}
	err = w.merge(ctx, from, level == 0, func(r *row) error {
		chunk = binary.AppendUvarint(chunk, r.seq)
		chunk = append(chunk, r.body...)
		if len(chunk) < chunkRaw {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("spool to %s: %w", name, err), f.Close())
	}
	w.runs = append(w.runs, out)
	return nil
}

func (r *run) append(chunk []byte) error {
	b := make([]byte, chunkHead, chunkHead+len(chunk)/2)
	b = encoder.EncodeAll(chunk, b)
	body := b[chunkHead:]
	binary.LittleEndian.PutUint32(b[0:], uint32(len(chunk)))
	binary.LittleEndian.PutUint32(b[4:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(body, castagnoli))
	n, err := r.file.WriteAt(b, r.size)
	r.size += int64(n)
	return err
}

// source gives rows in order.
type source struct {
	row  row
	rows []row // still in memory
	run  *run
	at   int64  // of the next chunk in the run
	rest []byte // of the chunk being read
}

// next moves to the next row; ok is false at the end.
func (s *source) next() (ok bool, err error) {
	if s.run == nil {
		if len(s.rows) == 0 {
			return false, nil
		}
		s.row, s.rows = s.rows[0], s.rows[1:]
		return true, nil
	}
	if len(s.rest) == 0 {
		if s.at == s.run.size {
			return false, nil
		}
		if err := s.chunk(); err != nil {
			return false, fmt.Errorf("spool %s at byte %d: %w", s.run.name, s.at, err)
		}
	}
	seq, n := binary.Uvarint(s.rest)
	if n <= 0 {
		return false, fmt.Errorf("spool %s: %w", s.run.name, errShort)
	}
	body := s.rest[n:]
	e, rest, err := ParseEntry(body)
	if err != nil {
		return false, fmt.Errorf("spool %s: %w", s.run.name, err)
	}
	s.rest = rest
	s.row = row{seq, e.Path, body[:len(body)-len(rest)]}
	return true, nil
}

func (s *source) chunk() error {
	var head [chunkHead]byte
	if err := readFull(s.run.file, head[:], s.at); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint32(head[0:])
	packed := int64(binary.LittleEndian.Uint32(head[4:]))
	if n == 0 || n > maxBlockRaw || packed > s.run.size-s.at-chunkHead {
		return fmt.Errorf("a piece of %d bytes, %d compressed", n, packed)
	}
	b := make([]byte, packed)
	if err := readFull(s.run.file, b, s.at+chunkHead); err != nil {
		return err
	}
	if crc32.Checksum(b, castagnoli) != binary.LittleEndian.Uint32(head[8:]) {
		return errors.New("the checksum does not match")
	}
	raw, err := decoder.DecodeAll(b, make([]byte, 0, n))
	if err != nil {
		return err
	}
	s.rest, s.at = raw, s.at+chunkHead+packed
	return nil
}

func readFull(f store.File, b []byte, at int64) error {
	if n, err := f.ReadAt(b, at); n < len(b) {
		return fmt.Errorf("read %d of %d bytes: %w", n, len(b), err)
	}
	return nil
}

type sources []*source

func (h sources) Len() int           { return len(h) }
func (h sources) Less(i, j int) bool { return h[i].row.compare(&h[j].row) < 0 }
func (h sources) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *sources) Push(x any)        { *h = append(*h, x.(*source)) }
func (h *sources) Pop() any {
	s := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return s
}

// merge calls fn for the rows of runs, and of memory if mem is set, in order:
// once for each path, with the row that counts. The row is fn's until it returns.
func (w *Writer) merge(ctx context.Context, runs []*run, mem bool, fn func(*row) error) error {
	var all []*source
	for _, r := range runs {
		all = append(all, &source{run: r})
	}
	if mem {
		w.mem.sort()
		all = append(all, &source{rows: w.mem.rows})
	}
	var h sources
	for _, s := range all {
		ok, err := s.next()
		if err != nil {
			return err
		}
		if ok {
			h = append(h, s)
		}
	}
	heap.Init(&h)
	var held row // the last one of its path so far
	for n := 0; len(h) > 0; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return rt.Cause(ctx)
		}
		s := h[0]
		if held.body != nil && held.path != s.row.path {
			if err := fn(&held); err != nil {
				return err
			}
		}
		held = s.row
		ok, err := s.next()
		if err != nil {
			return err
		}
		if ok {
			heap.Fix(&h, 0)
		} else {
			heap.Pop(&h)
		}
	}
	if held.body == nil {
		return nil
	}
	return fn(&held)
}
