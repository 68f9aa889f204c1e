package catalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// blockReader goes through the entries of a block, decoding its columns side by
// side. It trusts nothing: entries come out in order, valid, and with no more
// text than a block may have. It makes no strings of what is only passed.
type blockReader struct {
	left    int // entries still to come
	col     [columns]cursor
	classes []class
	dir     []byte
	name    []byte
	began   bool // dir and name are an entry's
	inDir   int  // entries still to come in dir
	text    int
	sec     int64 // of the entry's mtime
	end     int64 // of the entry in the image's stream
	num     Entry // the entry, without its texts
	link    []byte
}

// init begins with a block, which is not changed and must not change.
func (r *blockReader) init(raw []byte) error {
	c := cursor{b: raw}
	*r = blockReader{left: c.count(maxBlockEntries), classes: r.classes[:0], dir: r.dir[:0], name: r.name[:0]}
	var length [columns]int
	for i := range length {
		length[i] = c.count(len(raw))
	}
	for i := range length {
		r.col[i].b = c.bytes(length[i])
	}
	if c.err != nil {
		return c.err
	}
	if r.left == 0 || len(c.b) != 0 {
		return fmt.Errorf("a block of %d entries with %d bytes after them", r.left, len(c.b))
	}
	r.readClasses()
	return r.col[colClasses].err
}

func (r *blockReader) readClasses() {
	c := &r.col[colClasses]
	for len(c.b) > 0 {
		k := class{typ: Type(c.byte()), flags: c.byte(), damage: c.byte()}
		k.mode, k.uid, k.gid, k.dev = c.uint32(), c.uint32(), c.uint32(), c.uint()
		if k.flags&^allFlags != 0 {
			c.fail(fmt.Errorf("unknown flags %#x of a class", k.flags))
		}
		r.classes = append(r.classes, k)
	}
}

// next moves to the next entry; more is false after the last.
func (r *blockReader) next() (more bool, err error) {
	if r.left == 0 {
		for i := range r.col {
			if len(r.col[i].b) != 0 {
				return false, fmt.Errorf("column %d is longer than its entries", i)
			}
		}
		return false, nil
	}
	r.left--
	if err := r.path(); err != nil {
		return false, err
	}
	r.numbers()
	for i := range r.col {
		if err := r.col[i].err; err != nil {
			return false, fmt.Errorf("column %d: %w", i, err)
		}
	}
	if r.text += len(r.dir) + 1 + len(r.name) + len(r.link); r.text > maxBlockText {
		return false, fmt.Errorf("more than %d bytes of paths", maxBlockText)
	}
	if len(r.dir)+1+len(r.name) > MaxPath+1 {
		return false, fmt.Errorf("a path of %d bytes: at most %d are kept", len(r.dir)+1+len(r.name), MaxPath)
	}
	if len(r.name) == 0 && r.num.Type != Gone && len(r.dir) > 0 {
		return false, fmt.Errorf("a file without a name in %.200q", r.dir)
	}
	return true, r.num.checkNumbers()
}

// path decodes the entry's directory and name, which must follow the last one's.
func (r *blockReader) path() error {
	if r.inDir == 0 {
		return r.newDir()
	}
	r.inDir--
	shared, rest, err := r.nextName()
	if err != nil {
		return err
	}
	if len(rest) == 0 || shared < len(r.name) && rest[0] <= r.name[shared] {
		return fmt.Errorf("%.100q after %.100q in %.200q is out of order", append(r.name[:shared:shared], rest...), r.name, r.dir)
	}
	r.name = append(r.name[:shared], rest...)
	return checkName(r.name, rest)
}

func (r *blockReader) newDir() error {
	c := &r.col[colDirs]
	r.inDir = c.count(maxBlockEntries) - 1
	shared := c.count(len(r.dir))
	rest := c.bytes(c.count(MaxPath))
	if c.err != nil || r.inDir < 0 {
		return errors.Join(errors.New("a directory without entries"), c.err)
	}
	if r.began && (shared < len(r.dir) && (len(rest) == 0 || !follows(rest[0], r.dir[shared])) || shared == len(r.dir) && len(rest) == 0) {
		return fmt.Errorf("directory %.200q after %.200q is out of order", append(r.dir[:shared:shared], rest...), r.dir)
	}
	r.began = true
	r.dir = append(r.dir[:shared], rest...)
	if len(r.dir) > 0 {
		if err := checkPath(string(r.dir)); err != nil || len(r.dir) == 1 {
			return errors.Join(fmt.Errorf("directory %.200q", r.dir), err)
		}
	}
	shared, rest, err := r.nextName()
	if err != nil {
		return err
	}
	r.name = append(r.name[:shared], rest...)
	if len(r.name) == 0 {
		return nil // the root, or what was in dir
	}
	return checkName(r.name, r.name)
}

// follows tells whether byte a comes after b in the order of directories.
func follows(a, b byte) bool { return a != '/' && (b == '/' || a > b) }

func (r *blockReader) nextName() (shared int, rest []byte, err error) {
	c := &r.col[colNames]
	shared = c.count(len(r.name))
	rest = r.col[colText].bytes(c.count(MaxPath))
	return shared, rest, errors.Join(c.err, r.col[colText].err)
}

// checkName refuses what no file is called; rest is what is new of it.
func checkName(name, rest []byte) error {
	if badName(name) || bytes.IndexByte(rest, '/') >= 0 || bytes.IndexByte(rest, 0) >= 0 {
		return fmt.Errorf("name %.200q: want one without / and NUL, other than \"\", \".\" and \"..\"", name)
	}
	return nil
}

func (r *blockReader) numbers() {
	e := &r.num
	var k class
	if id := r.col[colClass].uint(); id < uint64(len(r.classes)) {
		k = r.classes[id]
	} else {
		r.col[colClass].fail(fmt.Errorf("class %d of %d", id, len(r.classes)))
	}
	e.Type, e.Damage, e.Mode, e.UID, e.GID, e.Dev = k.typ, k.damage, k.mode, k.uid, k.gid, k.dev
	e.Size = int64(r.col[colSize].uint())
	r.times(e)
	e.Ino += uint64(r.col[colIno].int())
	e.Offset = r.end + r.col[colOffset].int()
	c := &r.col[colLength]
	e.HeadLen = c.int()
	e.DataLen = e.Size + c.int()
	r.end = e.End()
	r.rare(e, k.flags)
}

func (r *blockReader) times(e *Entry) {
	c := &r.col[colMTime]
	r.sec += c.int()
	ns := int64(r.col[colNano].uint())
	var ok bool
	if e.MTime, ok = join(r.sec, ns); !ok {
		c.fail(fmt.Errorf("a time of %d s and %d ns", r.sec, ns))
	}
	c = &r.col[colCTime]
	csec, cns := r.sec+c.int(), ns+c.int()
	if e.CTime, ok = join(csec, cns); !ok {
		c.fail(fmt.Errorf("a time of %d s and %d ns", csec, cns))
	}
}

func (r *blockReader) rare(e *Entry, flags uint8) {
	r.link, e.Major, e.Minor, e.XHash, e.Count, e.CRC = nil, 0, 0, 0, 0, 0
	if flags == 0 {
		return
	}
	if flags&hasLink != 0 {
		c := &r.col[colLink]
		r.link = c.bytes(c.count(MaxPath))
	}
	c := &r.col[colRare]
	if flags&hasDevice != 0 {
		e.Major, e.Minor = c.uint32(), c.uint32()
	}
	if flags&hasXHash != 0 {
		if b := c.bytes(8); b != nil {
			e.XHash = binary.LittleEndian.Uint64(b)
		}
	}
	if flags&hasCount != 0 {
		e.Count = int64(c.uint())
	}
	if flags&hasCRC != 0 {
		if b := r.col[colCRC].bytes(4); b != nil {
			e.CRC = binary.LittleEndian.Uint32(b)
		}
	}
}

// entry is the entry that next moved to.
func (r *blockReader) entry() Entry {
	e := r.num
	e.Path = string(r.dir) + "/" + string(r.name)
	if r.link != nil {
		e.Link = string(r.link)
	}
	return e
}
