package catalog

import (
	"capstan/core/store"
)

const (
	writeBuffer = 1 << 20
	indexFanOut = 512 // references in one index block
)

// fileWriter writes the blocks of a files file one behind the other.
type fileWriter struct {
	file   store.File
	target int // size of a data block before compression
	buf    []byte
	offset int64 // of buf in the file
	block  blockWriter
	raw    []byte
	refs   []ref // of the data blocks
}

func newFileWriter(f store.File, target int) *fileWriter {
	w := &fileWriter{file: f, target: target}
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
	if b.n < entriesABlock && b.size() < w.target {
		return nil
	}
	return w.endBlock()
}

func (w *fileWriter) endBlock() error {
	w.raw = w.block.appendTo(w.raw[:0])
	r, err := w.frame(kindData, w.block.first, w.raw)
	if err != nil {
		return err
	}
	w.refs = append(w.refs, r)
	w.block.reset()
	return nil
}

func (w *fileWriter) frame(kind byte, first string, raw []byte) (ref, error) {
	at := w.offset + int64(len(w.buf))
	w.buf = appendFrame(w.buf, kind, at, raw)
	r := ref{first, at, w.offset + int64(len(w.buf)) - at}
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

// finish writes the index, level by level, and the footer.
func (w *fileWriter) finish(sum Summary) error {
	if w.block.n > 0 {
		if err := w.endBlock(); err != nil {
			return err
		}
	}
	foot := footer{sum: sum}
	refs := w.refs
	for ; len(refs) > 1; foot.level++ {
		var err error
		if refs, err = w.index(foot.level+1, refs); err != nil {
			return err
		}
	}
	if len(refs) == 1 {
		foot.root = refs[0]
	}
	foot.size = w.offset + int64(len(w.buf)) + footerLen
	w.buf = foot.append(w.buf)
	return w.flush()
}

// index writes the index blocks above refs and returns references to them.
func (w *fileWriter) index(level int, refs []ref) ([]ref, error) {
	var above []ref
	for len(refs) > 0 {
		n, text := 0, 0
		for n < len(refs) && n < indexFanOut && (n < 2 || text < maxBlockText/4) {
			text += len(refs[n].first)
			n++
		}
		w.raw = appendIndex(w.raw[:0], level, refs[:n])
		r, err := w.frame(kindIndex, refs[0].first, w.raw)
		if err != nil {
			return nil, err
		}
		above, refs = append(above, r), refs[n:]
	}
	return above, nil
}
