package archive

import (
	"bytes"
	"fmt"
	"path"
	"strconv"
	"strings"

	"capstan/core/archive/pax"
	"capstan/core/tree"
)

// Bounds of what a member's headers may make the parser hold in memory.
const (
	maxRecords = 16 << 20 // bytes of extended headers
	maxMap     = 64 << 20 // bytes of a sparse file's map
)

// handler is told what a parser finds.
type handler interface {
	// begin is called with a member's headers, before its data.
	begin(h *parsed) error
	// data is called with the next bytes of its data, and where in the file they belong.
	data(p []byte, offset int64) error
	// end is called after its data.
	end() error
}

// parsed is a member as its headers say.
type parsed struct {
	pax.Header
	FileSize int64 // of the file: holes included
	Sparse   bool
}

// parser takes an archive in pieces of any size. It begins at a member's headers
// and takes any number of members; blocks of zeros between them are skipped.
type parser struct {
	h       handler
	block   []byte // of a header, growing to 512 bytes
	recs    []pax.Record
	globals []pax.Record
	extra   []byte // data of an extended header
	extraOf byte   // its type, 0 while none is read
	want    int64  // bytes of extra still to come

	cur       *parsed
	left      int64 // bytes of the member's data still to come
	pad       int64 // bytes of padding still to come
	inMap     bool
	mapping   []byte // of a sparse file, as far as it came
	lines     int    // in mapping
	wantLines int    // that the map has, by its first line; 0 while that is not there
	extents   []tree.Extent
	into      int64 // bytes of the first extent that came
}

// feed takes the next bytes.
func (p *parser) feed(b []byte) error {
	for len(b) > 0 {
		n, err := p.take(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// whole tells whether no member is half taken.
func (p *parser) whole() bool {
	return p.cur == nil && p.pad == 0 && len(p.block) == 0 && p.extraOf == 0 && len(p.recs) == 0
}

// take takes some of the bytes of b, at least one.
func (p *parser) take(b []byte) (int, error) {
	switch {
	case p.extraOf != 0:
		n := int(min(int64(len(b)), p.want))
		p.extra = append(p.extra, b[:n]...)
		p.want -= int64(n)
		if p.want == 0 {
			return n, p.extraDone()
		}
		return n, nil
	case p.cur != nil && p.inMap:
		n := min(len(b), pax.BlockSize-len(p.block))
		p.block = append(p.block, b[:n]...)
		if len(p.block) < pax.BlockSize {
			return n, nil
		}
		return n, p.mapBlock()
	case p.cur != nil:
		return p.takeData(b)
	case p.pad > 0:
		n := int(min(int64(len(b)), p.pad))
		p.pad -= int64(n)
		return n, nil
	default:
		n := min(len(b), pax.BlockSize-len(p.block))
		p.block = append(p.block, b[:n]...)
		if len(p.block) < pax.BlockSize {
			return n, nil
		}
		block := p.block
		p.block = p.block[:0]
		return n, p.header(block)
	}
}

// header takes one header block.
func (p *parser) header(block []byte) error {
	h, zero, err := pax.ParseBlock(block)
	if err != nil {
		return err
	}
	if zero {
		return nil
	}
	switch h.Type {
	case pax.Extended, pax.Global, pax.LongName, pax.LongLink:
		if h.Size > maxRecords {
			return fmt.Errorf("%w: an extended header of %d bytes", pax.ErrHeader, h.Size)
		}
		p.extra, p.extraOf, p.want = p.extra[:0], h.Type, (h.Size+511)&^511
		if p.want == 0 {
			p.extraOf = 0
		}
		p.left = h.Size // of the data, without the padding that want has
		return nil
	case pax.Volume:
		return nil
	}
	return p.memberHeader(&h)
}

// extraDone takes the data of an extended header.
func (p *parser) extraDone() error {
	data, typ := p.extra[:p.left], p.extraOf
	p.extraOf, p.left = 0, 0
	switch typ {
	case pax.LongName:
		p.recs = append(p.recs, pax.Record{Key: "path", Value: strings.TrimRight(string(data), "\x00")})
	case pax.LongLink:
		p.recs = append(p.recs, pax.Record{Key: "linkpath", Value: strings.TrimRight(string(data), "\x00")})
	default:
		recs, err := pax.ParseRecords(data)
		if err != nil {
			return err
		}
		if typ == pax.Extended {
			p.recs = append(p.recs, recs...)
			return nil
		}
		for _, r := range recs { // only what can be meant for every member
			switch r.Key {
			case "uid", "gid", "mtime":
				p.globals = append(p.globals, r)
			}
		}
		p.globals = p.globals[max(0, len(p.globals)-64):]
	}
	return nil
}

// memberHeader begins a member.
func (p *parser) memberHeader(h *pax.Header) error {
	if err := h.Apply(p.globals); err != nil {
		return err
	}
	if err := h.Apply(p.recs); err != nil {
		return err
	}
	p.recs = p.recs[:0]
	m := &parsed{Header: *h, FileSize: h.Size}
	if m.Type == pax.OldRegular || m.Type == pax.Contiguous {
		m.Type = '0'
		if strings.HasSuffix(m.Name, "/") {
			m.Type = '5'
		}
	}
	if m.Type >= '1' && m.Type <= '6' { // links, directories and devices have no data; unknown types may
		m.Size, m.FileSize = 0, 0
	}
	p.cur, p.left, p.into = m, m.Size, 0
	p.pad = (m.Size+511)&^511 - m.Size
	p.extents = []tree.Extent{{Length: m.Size}}
	if err := p.sparse(m); err != nil {
		return err
	}
	if p.inMap {
		return nil
	}
	return p.beginData()
}

// sparse reads the records of a sparse file (GNU.sparse 1.0).
func (p *parser) sparse(m *parsed) error {
	major, name, size := "", "", ""
	for _, r := range m.Records {
		switch r.Key {
		case "GNU.sparse.major":
			major = r.Value
		case "GNU.sparse.name":
			name = r.Value
		case "GNU.sparse.realsize":
			size = r.Value
		case "GNU.sparse.map", "GNU.sparse.numblocks":
			return fmt.Errorf("%w: %q is sparse in the form 0.x, which is not read here", pax.ErrHeader, m.Name)
		}
	}
	if major == "" {
		return nil
	}
	n, err := strconv.ParseInt(size, 10, 64)
	if major != "1" || err != nil || n < 0 || m.Type != '0' || m.Size == 0 {
		return fmt.Errorf("%w: %q is sparse in the form %s, of size %q", pax.ErrHeader, m.Name, major, size)
	}
	if name != "" {
		m.Name = name
	}
	m.Sparse, m.FileSize = true, n
	p.inMap, p.mapping, p.lines, p.wantLines = true, p.mapping[:0], 0, 0
	return nil
}

// mapBlock takes one block of a sparse file's map.
func (p *parser) mapBlock() error {
	p.mapping = append(p.mapping, p.block...)
	p.block = p.block[:0]
	p.left = max(p.left-pax.BlockSize, 0)
	if len(p.mapping) > maxMap {
		return fmt.Errorf("%w: the map of %q is longer than %d bytes", pax.ErrHeader, p.cur.Name, maxMap)
	}
	p.lines += bytes.Count(p.mapping[len(p.mapping)-pax.BlockSize:], []byte{'\n'})
	if p.lines > 0 && p.wantLines == 0 {
		first, _, _ := bytes.Cut(p.mapping, []byte{'\n'})
		count, err := strconv.ParseUint(string(first), 10, 24)
		if err != nil {
			return p.badMap()
		}
		p.wantLines = 1 + 2*int(count)
	}
	if p.wantLines == 0 || p.lines < p.wantLines {
		if p.left == 0 {
			return p.badMap()
		}
		return nil
	}
	return p.mapDone(bytes.Split(p.mapping, []byte{'\n'})[1:p.wantLines])
}

// mapDone checks the map: extents in order, inside the file, as long together
// as the data.
func (p *parser) mapDone(nums [][]byte) error {
	p.inMap = false
	p.extents = p.extents[:0]
	var end, sum int64
	for i := 0; i < len(nums); i += 2 {
		off, err1 := strconv.ParseInt(string(nums[i]), 10, 64)
		n, err2 := strconv.ParseInt(string(nums[i+1]), 10, 64)
		if err1 != nil || err2 != nil || off < end || n < 0 || n > p.cur.FileSize-off {
			return p.badMap()
		}
		end, sum = off+n, sum+n
		p.extents = append(p.extents, tree.Extent{Offset: off, Length: n})
	}
	if sum != p.left {
		return p.badMap()
	}
	return p.beginData()
}

func (p *parser) badMap() error {
	return fmt.Errorf("%w: the map of the sparse file %q is wrong", pax.ErrHeader, p.cur.Name)
}

func (p *parser) beginData() error {
	if err := p.h.begin(p.cur); err != nil {
		return err
	}
	return p.dataDone()
}

// takeData passes data on, cut at the ends of extents.
func (p *parser) takeData(b []byte) (int, error) {
	for len(p.extents) > 0 && p.into == p.extents[0].Length {
		p.extents, p.into = p.extents[1:], 0
	}
	x := p.extents[0] // their lengths add up to left, which is not 0
	n := int(min(int64(len(b)), x.Length-p.into))
	if err := p.h.data(b[:n], x.Offset+p.into); err != nil {
		return n, err
	}
	p.into += int64(n)
	p.left -= int64(n)
	return n, p.dataDone()
}

func (p *parser) dataDone() error {
	if p.left > 0 {
		return nil
	}
	p.cur = nil
	return p.h.end()
}

// cleanName is a member's name as components beneath the root; ok is false if it
// would lead out, or is no name.
func cleanName(name string) (string, bool) {
	if strings.Contains(name, "\x00") {
		return "", false
	}
	for _, c := range strings.Split(name, "/") {
		if c == ".." {
			return "", false
		}
	}
	return path.Clean("/" + name), true
}
