package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// blockReader goes through the entries of a block, decoding its columns side by
// side. It trusts nothing: entries come out in order, valid, and with no more
// text than a block may have. It makes no strings of what is only passed, and
// decodes the numbers of the entries that are asked for: of those before them only
// what theirs build on.
type blockReader struct {
	left    int // entries still to come
	passed  int // entries so far, the current one among them
	behind  int // entries whose numbers are not decoded, the current one among them
	col     [columns]cursor
	classes []class
	marks   []byte
	dir     []byte
	name    []byte
	began   bool // dir is one of the block's
	first   bool // the next name is dir's first
	shared  int  // bytes that name and the one before in dir begin with; -1: it is the first, or was sought
	inDir   int  // entries still to come in dir
	text    int
	sec     int64 // of the entry's mtime
	end     int64 // of the entry in the image's stream
	num     Entry // the entry, without its texts, once load has been called
	link    []byte
	touched byte // of no meaning
}

// init begins with a block, which is not changed and must not change.
func (r *blockReader) init(raw []byte) error { return r.begin(raw, nil) }

// begin is init with the marks of the block.
func (r *blockReader) begin(raw, marks []byte) error {
	r.fetch(raw, marks)
	c := cursor{b: raw}
	entries := c.count(maxBlockEntries)
	var lengths [columns]int
	all := 0
	for i := range lengths {
		lengths[i] = c.count(len(raw))
		all += lengths[i]
	}
	if c.err != nil {
		return c.err
	}
	if entries == 0 || all != len(c.b) {
		return fmt.Errorf("a block of %d entries with %d bytes of columns where %d were written", entries, len(c.b), all)
	}
	for i, n := range lengths {
		r.col[i] = cursor{b: c.bytes(n)}
	}
	r.marks = marks
	r.left, r.passed, r.behind, r.inDir, r.text, r.sec, r.end = entries, 0, 0, 0, 0, 0, 0
	r.dir, r.name, r.began, r.first, r.shared, r.num.Ino = r.dir[:0], r.name[:0], false, false, -1, 0
	return r.readClasses()
}

func (r *blockReader) readClasses() error {
	r.classes = r.classes[:0]
	c := &r.col[colClasses]
	for len(c.b) > 0 {
		k := class{typ: Type(c.byte()), flags: c.byte(), damage: c.byte()}
		k.mode, k.uid, k.gid, k.dev = c.uint32(), c.uint32(), c.uint32(), c.uint()
		if k.flags&^allFlags != 0 {
			c.fail(fmt.Errorf("unknown flags %#x of a class", k.flags))
		}
		r.classes = append(r.classes, k)
	}
	return c.err
}

// page is the least unit of memory that a processor looks up to find where it is.
const page = 4 << 10

// fetch reads a byte of each page of a block. Processors fetch side by side what is
// not in their caches if nothing has to be decoded in between, and to find so many
// pages, as a cache has, takes them as long as all that is done with a block.
func (r *blockReader) fetch(raw, marks []byte) {
	if len(marks) > 0 {
		r.touched |= marks[0]
	}
	for at := 0; at < len(raw); at += page {
		r.touched |= raw[at]
	}
}

// next moves to the next entry; more is false after the last.
func (r *blockReader) next() (more bool, err error) {
	if r.left == 0 {
		return false, r.ended()
	}
	if err := r.path(); err != nil {
		return false, err
	}
	r.pass(1)
	n := len(r.dir) + 1 + len(r.name)
	if r.text += n; n > MaxPath+1 || r.text > maxBlockText {
		return false, fmt.Errorf("a path of %d bytes, and %d with those before: at most %d are kept, and %d in a block", n, r.text, MaxPath, maxBlockText)
	}
	return true, nil
}

// pass counts entries whose numbers are not decoded.
func (r *blockReader) pass(n int) {
	r.left, r.passed, r.behind = r.left-n, r.passed+n, r.behind+n
}

// ended checks that nothing is left of the columns.
func (r *blockReader) ended() error {
	r.skip(r.behind)
	r.behind = 0
	for i := range r.col {
		if c := &r.col[i]; c.err != nil || len(c.b) != 0 {
			return errors.Join(fmt.Errorf("column %d does not end with its entries", i), c.err)
		}
	}
	return nil
}

// load decodes the numbers and the link of the entry that next moved to.
func (r *blockReader) load() error {
	if r.behind == 0 {
		return nil
	}
	r.jump()
	r.touch()
	r.skip(r.behind - 1)
	r.behind = 0
	r.numbers()
	for i := range r.col {
		if err := r.col[i].err; err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	if r.text += len(r.link); r.text > maxBlockText {
		return fmt.Errorf("more than %d bytes of paths", maxBlockText)
	}
	if len(r.name) == 0 && r.num.Type != Gone && len(r.dir) > 0 {
		return fmt.Errorf("a file without a name in %.200q", r.dir)
	}
	return r.num.checkNumbers()
}

// touch reads a byte of each column of numbers, for the reason that fetch has.
func (r *blockReader) touch() {
	for i := colClass; i < columns; i++ {
		if b := r.col[i].b; len(b) > 0 {
			r.touched |= b[0]
		}
	}
}

// skip passes the numbers of n entries.
func (r *blockReader) skip(n int) {
	if n == 0 {
		return
	}
	r.sec += r.col[colMTime].sum(n, true)
	r.num.Ino += uint64(r.col[colIno].sum(n, true))
	r.end += r.col[colOffset].sum(n, true) + r.col[colHead].sum(n, false) + padded(&r.col[colSize], &r.col[colData], n)
	ids := &r.col[colClass]
	for range n {
		id := ids.uint()
		if id >= uint64(len(r.classes)) {
			ids.fail(fmt.Errorf("class %d of %d", id, len(r.classes)))
			return
		}
		if flags := r.classes[id].flags; flags != 0 {
			r.skipRare(flags)
		}
	}
}

// padded is how much room the data of n entries takes, by their sizes and by how
// much more data they have.
func padded(sizes, more *cursor, n int) (sum int64) {
	s, m := sizes.b, more.b
	i, j := 0, 0
	var size, data uint64
	for range n {
		size, i = varint(s, i)
		data, j = varint(m, j)
		sum += (int64(size) + unzigzag(data) + 511) &^ 511
	}
	sizes.advance(i)
	more.advance(j)
	return sum
}

func (r *blockReader) skipRare(flags uint8) {
	if flags&hasCRC != 0 {
		r.col[colCRC].bytes(4)
	}
	if flags&hasNano != 0 {
		r.col[colNano].bytes(4)
	}
	if flags&hasCTime != 0 {
		r.col[colCTime].skip(1)
		r.col[colCNano].bytes(4)
	}
	if flags&^(hasCRC|hasNano|hasCTime) == 0 {
		return
	}
	if flags&hasLink != 0 {
		c := &r.col[colLink]
		c.bytes(c.count(MaxPath))
	}
	if flags&hasDevice != 0 {
		r.col[colRare].skip(2)
	}
	if flags&hasXHash != 0 {
		r.col[colXHash].bytes(8)
	}
	if flags&hasCount != 0 {
		r.col[colRare].skip(1)
	}
}

// seek moves to the first entry at or after (dir, name); ok is false if the block
// has none. It is called before the first next.
func (r *blockReader) seek(dir, name string) (ok bool, err error) {
	for r.left > 0 {
		if err := r.newDir(); err != nil {
			return false, err
		}
		switch c := compareDirs(r.dir, dir); {
		case c > 0:
			return r.next()
		case c == 0:
			if ok, err := r.seekName(name); ok || err != nil {
				return ok, err
			}
		default:
			r.skipNames()
		}
	}
	return false, r.ended()
}

// skipNames passes the rest of a directory: four names at a time, if their lengths
// have one byte each.
func (r *blockReader) skipNames() {
	names, text, n := &r.col[colNames], 0, r.inDir
	for ; n >= 4 && len(names.b) >= 8; n -= 4 {
		w := word(names.b)
		if w&0x8080808080808080 != 0 {
			break
		}
		text += int(w >> 8 & 0x00ff00ff00ff00ff * 0x0001000100010001 >> 48)
		names.b = names.b[8:]
	}
	for range n {
		names.uint()
		text += names.count(MaxPath)
	}
	r.col[colText].bytes(text)
	r.pass(r.inDir)
	r.inDir = 0
}

// seekName moves to the first entry of a directory at or after a name. What a name
// shares with the one before tells, for the most part, on which side of the wanted
// one it is.
func (r *blockReader) seekName(want string) (ok bool, err error) {
	names, text := r.col[colNames].b, r.col[colText].b
	i, at := 0, 0 // in names and text
	same := 0     // bytes that the last name, which is lower, shares with want
	for n := 1; n <= r.inDir; n++ {
		shared, length := uint64(0), uint64(0)
		if i+1 < len(names) && names[i]|names[i+1] < 0x80 {
			shared, length, i = uint64(names[i]), uint64(names[i+1]), i+2
		} else {
			shared, i = varint(names, i)
			length, i = varint(names, i)
		}
		if i > len(names) || length > uint64(len(text)-at) {
			return false, errShort
		}
		rest := text[at : at+int(length)]
		at += int(length)
		if shared > uint64(same) {
			continue
		}
		if shared == uint64(same) {
			k := sharedPrefix(rest, want[same:])
			if at := same + k; at < len(want) && (k == len(rest) || rest[k] < want[at]) {
				same = at
				continue
			}
		}
		r.name = append(append(r.name[:0], want[:shared]...), rest...)
		r.passNames(n, i, at)
		if n := len(r.dir) + 1 + len(r.name); n > MaxPath+1 {
			return false, fmt.Errorf("a path of %d bytes: at most %d are kept", n, MaxPath)
		}
		if r.first = false; len(r.name) == 0 {
			return true, nil
		}
		return true, checkName(r.name, r.name) // the directory is the one that was asked for
	}
	r.passNames(r.inDir, i, at)
	return false, nil
}

// passNames counts names that are passed, and what they take of the columns.
func (r *blockReader) passNames(n, names, text int) {
	r.col[colNames].advance(names)
	r.col[colText].advance(text)
	r.inDir -= n
	r.pass(n)
}

// path decodes the entry's directory and name, which must follow the last one's.
func (r *blockReader) path() error {
	if r.inDir == 0 {
		if err := r.newDir(); err != nil {
			return err
		}
	}
	r.inDir--
	names, text := &r.col[colNames], &r.col[colText]
	shared := names.count(len(r.name))
	rest := text.bytes(names.count(MaxPath))
	if names.err != nil || text.err != nil {
		return errors.Join(names.err, text.err)
	}
	if r.first {
		r.first, r.shared = false, -1
		r.name = append(r.name[:0], rest...)
		return r.checkEntry()
	}
	if len(rest) == 0 || shared < len(r.name) && rest[0] <= r.name[shared] {
		return fmt.Errorf("%.100q after %.100q in %.200q is out of order", append(r.name[:shared:shared], rest...), r.name, r.dir)
	}
	r.name, r.shared = append(r.name[:shared], rest...), shared
	return checkName(r.name, rest)
}

// checkEntry refuses a directory or a name that no file has, but the empty ones: they
// are the root's, and the name is that of what was in a directory.
func (r *blockReader) checkEntry() error {
	r.first = false
	if len(r.dir) > 0 {
		if err := checkPath(string(r.dir)); err != nil || len(r.dir) == 1 {
			return errors.Join(fmt.Errorf("directory %.200q", r.dir), err)
		}
	}
	if len(r.name) == 0 {
		return nil
	}
	return checkName(r.name, r.name)
}

// newDir decodes a directory, which must follow the last one. The first name in it
// shares nothing with the one before.
func (r *blockReader) newDir() error {
	c := &r.col[colDirs]
	r.inDir = c.count(r.left)
	shared := c.count(len(r.dir))
	rest := c.bytes(c.count(MaxPath))
	if c.err != nil || r.inDir == 0 {
		return errors.Join(errors.New("a directory without entries"), c.err)
	}
	if r.began && (shared < len(r.dir) && (len(rest) == 0 || !follows(rest[0], r.dir[shared])) || shared == len(r.dir) && len(rest) == 0) {
		return fmt.Errorf("directory %.200q after %.200q is out of order", append(r.dir[:shared:shared], rest...), r.dir)
	}
	r.began, r.first, r.name = true, true, r.name[:0]
	r.dir = append(r.dir[:shared], rest...)
	return nil
}

// follows tells whether byte a comes after b in the order of directories.
func follows(a, b byte) bool { return a != '/' && (b == '/' || a > b) }

// checkName refuses what no file is called; rest is what is new of it.
func checkName(name, rest []byte) error {
	bad := badName(name)
	for _, c := range rest {
		bad = bad || c == '/' || c == 0
	}
	if bad {
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
	r.times(e, k.flags)
	e.Ino += uint64(r.col[colIno].int())
	e.Offset = r.end + r.col[colOffset].int()
	e.HeadLen = int64(r.col[colHead].uint())
	e.DataLen = e.Size + r.col[colData].int()
	r.end = e.End()
	r.rare(e, k.flags)
}

func (r *blockReader) times(e *Entry, flags uint8) {
	c := &r.col[colMTime]
	r.sec += c.int()
	var ns int64
	if flags&hasNano != 0 {
		ns = int64(r.col[colNano].fixed32())
	}
	var ok bool
	if e.MTime, ok = join(r.sec, ns); !ok {
		c.fail(fmt.Errorf("a time of %d s and %d ns", r.sec, ns))
	}
	if e.CTime = e.MTime; flags&hasCTime == 0 {
		return
	}
	c = &r.col[colCTime]
	csec, cns := r.sec+c.int(), int64(r.col[colCNano].fixed32())
	if e.CTime, ok = join(csec, cns); !ok {
		c.fail(fmt.Errorf("a time of %d s and %d ns", csec, cns))
	}
}

func (r *blockReader) rare(e *Entry, flags uint8) {
	r.link, e.Major, e.Minor, e.XHash, e.Count, e.CRC = nil, 0, 0, 0, 0, 0
	if flags&hasCRC != 0 {
		e.CRC = r.col[colCRC].fixed32()
	}
	if flags&^(hasCRC|hasNano|hasCTime) == 0 {
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
		if b := r.col[colXHash].bytes(8); b != nil {
			e.XHash = binary.LittleEndian.Uint64(b)
		}
	}
	if flags&hasCount != 0 {
		e.Count = int64(c.uint())
	}
}

// fullPath is that of the entry that next moved to.
func (r *blockReader) fullPath() string { return string(r.dir) + "/" + string(r.name) }

// entry is the entry that next moved to and load decoded.
func (r *blockReader) entry() Entry {
	e := r.num
	e.Path = r.fullPath()
	if r.link != nil {
		e.Link = string(r.link)
	}
	return e
}
