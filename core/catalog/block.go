package catalog

import (
	"math"

	"capstan/core/rt"
)

// Bounds of one block. The writer closes a block well below them; a reader
// refuses more, so that a damaged block cannot make it ask for much memory.
const (
	maxBlockEntries = 4096
	maxBlockText    = 1 << 20 // of all paths and link targets, decoded
	maxBlockRaw     = 8 << 20 // of a block before compression
)

// The columns of a data block, in the order in which they are stored. Values
// that are alike stand together, which is what makes them compress. Those from
// firstPlain on are as good as random: they are stored as they are, and do not
// spoil the others' compression.
const (
	colDirs    = iota // for each directory: entries in it, bytes shared with the one before, rest
	colNames          // for each entry: bytes of the name shared with the one before, length of the rest
	colText           // the rests of the names
	colClasses        // the table of classes
	colClass          // for each entry: its class
	colSize           // for each entry
	colMTime          // for each entry: whole seconds since the one before
	colCTime          // for entries with a ctime: ctime - mtime in whole seconds
	colIno            // for each entry: since the one before
	colOffset         // for each entry: since the end of the one before
	colHead           // for each entry: length of headers
	colData           // for each entry: data length - size
	colLink           // for entries with a link: length and bytes
	colRare           // for entries that have them: device numbers, count
	colNano           // for entries that have them: nanoseconds of mtime
	colCNano          // for entries with a ctime: its nanoseconds
	colCRC            // for entries whose content's is known
	colXHash          // for entries that have one
	columns
	firstPlain = colNano
)

// A class is what many entries have in common; an entry names its class.
type class struct {
	typ    Type
	flags  uint8
	damage uint8
	mode   uint32
	uid    uint32
	gid    uint32
	dev    uint64
}

// Flags of a class: which of the rare columns its entries have.
const (
	hasLink = 1 << iota
	hasDevice
	hasXHash
	hasCount
	hasCRC
	hasNano  // mtime is no whole second
	hasCTime // other than mtime
	allFlags = 1<<iota - 1
)

func classOf(e *Entry) class {
	c := class{typ: e.Type, damage: e.Damage, mode: e.Mode, uid: e.UID, gid: e.GID, dev: e.Dev}
	if e.Link != "" {
		c.flags |= hasLink
	}
	if e.Major != 0 || e.Minor != 0 {
		c.flags |= hasDevice
	}
	if e.XHash != 0 {
		c.flags |= hasXHash
	}
	if e.Count != 0 {
		c.flags |= hasCount
	}
	if e.CRC != 0 {
		c.flags |= hasCRC
	}
	if e.MTime%1e9 != 0 {
		c.flags |= hasNano
	}
	if e.CTime != e.MTime {
		c.flags |= hasCTime
	}
	return c
}

// seconds divides a time into whole seconds, rounded down, and nanoseconds.
func seconds(t rt.Time) (sec, ns int64) {
	sec, ns = int64(t)/1e9, int64(t)%1e9
	if ns < 0 {
		sec, ns = sec-1, ns+1e9
	}
	return sec, ns
}

// join is the inverse of seconds; it fails where the result does not fit.
func join(sec, ns int64) (rt.Time, bool) {
	if sec < math.MinInt64/int64(1e9)-1 || sec > math.MaxInt64/int64(1e9) || ns < 0 || ns >= 1e9 {
		return 0, false
	}
	if sec < 0 { // one second up, so that the product fits
		return rt.Time((sec+1)*1e9 + (ns - 1e9)), (sec+1)*1e9 >= math.MinInt64-(ns-1e9)
	}
	return rt.Time(sec*1e9 + ns), sec*1e9 <= math.MaxInt64-ns
}
