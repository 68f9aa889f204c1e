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

func (w *blockWriter) reset() {
	for i := range w.col {
		w.col[i] = w.col[i][:0]
	}
	if w.classes == nil {
		w.classes = map[class]int{}
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
	w.addNumbers(e)
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
	w.dir, w.inDir = dir, 0
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

func (w *blockWriter) addNumbers(e *Entry) {
	sec, ns := seconds(e.MTime)
	csec, cns := seconds(e.CTime)
	w.col[colSize] = binary.AppendUvarint(w.col[colSize], uint64(e.Size))
	w.col[colMTime] = binary.AppendVarint(w.col[colMTime], sec-w.sec)
	w.col[colNano] = binary.AppendUvarint(w.col[colNano], uint64(ns))
	w.col[colCTime] = binary.AppendVarint(binary.AppendVarint(w.col[colCTime], csec-sec), cns-ns)
	w.col[colIno] = binary.AppendVarint(w.col[colIno], int64(e.Ino-w.ino))
	w.col[colOffset] = binary.AppendVarint(w.col[colOffset], e.Offset-w.end)
	w.col[colLength] = binary.AppendVarint(binary.AppendVarint(w.col[colLength], e.HeadLen), e.DataLen-e.Size)
	w.sec, w.ino, w.end = sec, e.Ino, e.End()
}

func (w *blockWriter) addRare(e *Entry, flags uint8) {
	if flags&hasLink != 0 {
		w.col[colLink] = appendText(w.col[colLink], e.Link)
	}
	rare := w.col[colRare]
	if flags&hasDevice != 0 {
		rare = binary.AppendUvarint(rare, uint64(e.Major))
		rare = binary.AppendUvarint(rare, uint64(e.Minor))
	}
	if flags&hasXHash != 0 {
		rare = binary.LittleEndian.AppendUint64(rare, e.XHash)
	}
	if flags&hasCount != 0 {
		rare = binary.AppendUvarint(rare, uint64(e.Count))
	}
	w.col[colRare] = rare
	if flags&hasCRC != 0 {
		w.col[colCRC] = binary.LittleEndian.AppendUint32(w.col[colCRC], e.CRC)
	}
}

// appendTo appends the finished block to b.
func (w *blockWriter) appendTo(b []byte) []byte {
	w.endDir()
	b = binary.AppendUvarint(b, uint64(w.n))
	for i := range w.col {
		b = binary.AppendUvarint(b, uint64(len(w.col[i])))
	}
	for i := range w.col {
		b = append(b, w.col[i]...)
	}
	return b
}
