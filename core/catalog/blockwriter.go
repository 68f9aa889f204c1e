package catalog

import "encoding/binary"

// blockWriter gathers entries, which come in order, into the columns of a block.
type blockWriter struct {
	n         int
	text      int // bytes of paths and links
	first     string
	end       int64 // of the last entry, in the image's stream
	sec       int64 // of its mtime
	ino       uint64
	dir       string
	name      string
	inDir     int    // entries so far in dir
	dirHead   []byte // dir's front-coded path, written after inDir is known
	classes   map[class]int
	lastClass class
	lastID    int
	col       [columns][]byte
}

// smallColumn is what the columns of some entries take, in bytes.
const smallColumn = 64

func (w *blockWriter) reset() {
	for i := range w.col {
		w.col[i] = w.col[i][:0]
	}
	if w.classes == nil { // the first block: the columns of a small one have their memory together
		w.classes = map[class]int{}
		mem := make([]byte, columns*smallColumn)
		for i := range w.col {
			w.col[i] = mem[i*smallColumn : i*smallColumn : (i+1)*smallColumn]
		}
	}
	clear(w.classes)
	*w = blockWriter{col: w.col, classes: w.classes, dirHead: w.dirHead[:0]}
}

// size is the length of the block before compression, about.
func (w *blockWriter) size() int {
	n := len(w.dirHead)
	for i := range w.col {
		n += len(w.col[i])
	}
	return n
}

func (w *blockWriter) add(e *Entry) {
	dir, name := split(e.Path)
	if w.n == 0 {
		w.first = e.Path
		w.startDir(dir)
	} else if dir != w.dir {
		w.endDir()
		w.startDir(dir)
	}
	w.inDir++
	shared := sharedPrefix(w.name, name)
	names := binary.AppendUvarint(w.col[colNames], uint64(shared))
	w.col[colNames] = binary.AppendUvarint(names, uint64(len(name)-shared))
	w.col[colText] = append(w.col[colText], name[shared:]...)
	w.name = name
	flags := w.addClass(e)
	w.addNumbers(e, flags)
	if flags != 0 {
		w.addRare(e, flags)
	}
	w.n++
	w.text += len(e.Path) + len(e.Link)
}

func (w *blockWriter) startDir(dir string) {
	shared := sharedPrefix(w.dir, dir)
	w.dirHead = binary.AppendUvarint(w.dirHead[:0], uint64(shared))
	w.dirHead = appendText(w.dirHead, dir[shared:])
	w.dir, w.inDir, w.name = dir, 0, ""
}

func (w *blockWriter) endDir() {
	w.col[colDirs] = binary.AppendUvarint(w.col[colDirs], uint64(w.inDir))
	w.col[colDirs] = append(w.col[colDirs], w.dirHead...)
}

func (w *blockWriter) addClass(e *Entry) (flags uint8) {
	c := classOf(e)
	if w.n == 0 || c != w.lastClass {
		id, ok := w.classes[c]
		if !ok {
			id = len(w.classes)
			w.classes[c] = id
			b := append(w.col[colClasses], byte(c.typ), c.flags, c.damage)
			for _, v := range [...]uint64{uint64(c.mode), uint64(c.uid), uint64(c.gid), c.dev} {
				b = binary.AppendUvarint(b, v)
			}
			w.col[colClasses] = b
		}
		w.lastClass, w.lastID = c, id
	}
	w.col[colClass] = binary.AppendUvarint(w.col[colClass], uint64(w.lastID))
	return c.flags
}

func (w *blockWriter) addNumbers(e *Entry, flags uint8) {
	sec, ns := seconds(e.MTime)
	w.col[colSize] = binary.AppendUvarint(w.col[colSize], uint64(e.Size))
	w.col[colMTime] = binary.AppendVarint(w.col[colMTime], sec-w.sec)
	w.col[colIno] = binary.AppendVarint(w.col[colIno], int64(e.Ino-w.ino))
	w.col[colOffset] = binary.AppendVarint(w.col[colOffset], e.Offset-w.end)
	w.col[colHead] = binary.AppendUvarint(w.col[colHead], uint64(e.HeadLen))
	w.col[colData] = binary.AppendVarint(w.col[colData], e.DataLen-e.Size)
	if flags&hasNano != 0 {
		w.col[colNano] = binary.LittleEndian.AppendUint32(w.col[colNano], uint32(ns))
	}
	if flags&hasCTime != 0 {
		csec, cns := seconds(e.CTime)
		w.col[colCTime] = binary.AppendVarint(w.col[colCTime], csec-sec)
		w.col[colCNano] = binary.LittleEndian.AppendUint32(w.col[colCNano], uint32(cns))
	}
	w.sec, w.ino, w.end = sec, e.Ino, e.End()
}

func (w *blockWriter) addRare(e *Entry, flags uint8) {
	if flags&hasCRC != 0 {
		w.col[colCRC] = binary.LittleEndian.AppendUint32(w.col[colCRC], e.CRC)
	}
	if flags&hasLink != 0 {
		w.col[colLink] = appendText(w.col[colLink], e.Link)
	}
	if flags&hasDevice != 0 {
		w.col[colRare] = binary.AppendUvarint(w.col[colRare], uint64(e.Major))
		w.col[colRare] = binary.AppendUvarint(w.col[colRare], uint64(e.Minor))
	}
	if flags&hasXHash != 0 {
		w.col[colXHash] = binary.LittleEndian.AppendUint64(w.col[colXHash], e.XHash)
	}
	if flags&hasCount != 0 {
		w.col[colRare] = binary.AppendUvarint(w.col[colRare], uint64(e.Count))
	}
}

// appendTo appends the finished block to b, and tells how many bytes at its end are
// not to be compressed.
func (w *blockWriter) appendTo(b []byte) (_ []byte, plain int) {
	w.endDir()
	b = binary.AppendUvarint(b, uint64(w.n))
	for i := range w.col {
		b = binary.AppendUvarint(b, uint64(len(w.col[i])))
	}
	for i := range w.col {
		b = append(b, w.col[i]...)
		if i >= firstPlain {
			plain += len(w.col[i])
		}
	}
	return b, plain
}
