package catalog

import (
	"github.com/klauspost/compress/zstd"

	"capstan/core/store"
)

const (
	writeBuffer = 256 << 10
	indexFanOut = 512 // references in one index block
)

// fileWriter writes the blocks of a files file one behind the other, each index
// block once the blocks it refers to are written: what it holds in memory does not
// grow with the file but for an index block a level.
type fileWriter struct {
	file   store.File
	coder  *zstd.Encoder
	target int // size of a data block before compression
	buf    []byte
	offset int64 // of buf in the file
	block  blockWriter
	raw    []byte
	index  []indexLevel // of the blocks of each level that no index block refers to yet
	names  *names       // nil for a file that is not searched
	seg    ref          // of the last segment of the index of names
	sum    Summary
	rows   rowSum
	last   string // path of the last entry
}

// indexLevel is an index block to be.
type indexLevel struct {
	refs []ref
	text int
}

func newFileWriter(f store.File, coder *zstd.Encoder, target int) *fileWriter {
	w := &fileWriter{file: f, coder: coder, target: target}
	w.buf = appendHeader(w.buf)
	w.block.reset()
	return w
}

// add adds the next entry in order.
func (w *fileWriter) add(e *Entry) error {
	b := &w.block
	// One entry more must not bring the text over what a reader takes.
	if b.n > 0 && b.text+len(e.Path)+len(e.Link) > maxBlockText/2 {
		if err := w.endBlock(); err != nil {
			return err
		}
	}
	b.add(e)
	if w.names != nil {
		w.names.add(e.Path)
	}
	w.sum.add(e)
	w.rows.add(e)
	w.last = e.Path
	if b.n < entriesABlock && b.size() < w.target {
		return nil
	}
	return w.endBlock()
}

func (w *fileWriter) endBlock() error {
	var plain int
	w.raw, plain = w.block.appendTo(w.raw[:0])
	r, err := w.frame(kindData, w.raw, plain)
	if err != nil {
		return err
	}
	r.first = w.block.first
	w.block.reset()
	if w.names != nil {
		if w.names.endBlock(); w.names.full() {
			if err := w.endSegment(); err != nil {
				return err
			}
		}
	}
	return w.refer(0, r)
}

// endSegment writes a segment of the index of names.
func (w *fileWriter) endSegment() error {
	n := w.names
	s := segment{before: w.seg, firsts: n.firsts}
	rows := chunkRows(width(len(n.groups)))
	for at := 0; at < trigrams; at += rows {
		w.raw = n.turned(w.raw[:0], at, rows)
		r, err := w.frame(kindBits, w.raw, 0)
		if err != nil {
			return err
		}
		s.chunks = append(s.chunks, r)
	}
	w.raw = s.append(w.raw[:0])
	r, err := w.frame(kindNames, w.raw, 0)
	w.seg = r
	n.reset()
	return err
}

// frame writes a block of which plain bytes at the end are not compressed.
func (w *fileWriter) frame(kind byte, raw []byte, plain int) (ref, error) {
	at := w.offset + int64(len(w.buf))
	w.buf = appendFrame(w.buf, w.coder, kind, at, raw, plain)
	r := ref{offset: at, length: w.offset + int64(len(w.buf)) - at}
	if len(w.buf) < writeBuffer {
		return r, nil
	}
	return r, w.flush()
}

func (w *fileWriter) flush() error {
	n, err := w.file.WriteAt(w.buf, w.offset)
	w.offset += int64(n)
	w.buf = w.buf[:0]
	return err
}

// refer notes a block of a level for the index, and writes the index block if it
// is full: with two references at least, so that levels come to an end.
func (w *fileWriter) refer(level int, r ref) error {
	if level == len(w.index) {
		w.index = append(w.index, indexLevel{})
	}
	l := &w.index[level]
	l.refs = append(l.refs, r)
	l.text += len(r.first)
	if len(l.refs) < indexFanOut && (len(l.refs) < 2 || l.text < maxBlockText/4) {
		return nil
	}
	return w.endIndex(level)
}

// endIndex writes the index block above the blocks of a level.
func (w *fileWriter) endIndex(level int) error {
	l := &w.index[level]
	w.raw = appendIndex(w.raw[:0], level+1, l.refs)
	r, err := w.frame(kindIndex, w.raw, 0)
	if err != nil {
		return err
	}
	r.first = l.refs[0].first
	l.refs, l.text = l.refs[:0], 0
	return w.refer(level+1, r)
}

// finish writes the rest of the index, and the footer.
func (w *fileWriter) finish() error {
	if w.block.n > 0 {
		if err := w.endBlock(); err != nil {
			return err
		}
	}
	// One group alone needs no index: it is looked through.
	if n := w.names; n != nil && (len(n.groups) > 1 || len(n.groups) == 1 && w.seg.length != 0) {
		if err := w.endSegment(); err != nil {
			return err
		}
	}
	foot := footer{sum: w.sum, names: w.seg}
	for level := 0; level < len(w.index); level++ {
		refs := w.index[level].refs
		switch {
		case level == len(w.index)-1 && len(refs) == 1:
			foot.root, foot.level = ref{offset: refs[0].offset, length: refs[0].length}, level
		case len(refs) > 0:
			if err := w.endIndex(level); err != nil {
				return err
			}
		}
	}
	foot.size = w.offset + int64(len(w.buf)) + footerLen
	w.buf = foot.append(w.buf)
	return w.flush()
}
