package archive

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"strconv"

	"capstan/core/archive/pax"
	"capstan/core/catalog"
	"capstan/core/stream"
	"capstan/core/tree"
)

// open describes a file, opens it if it has data, and makes its headers.
func (r *Reader) open(ctx context.Context, it *item) (member, catalog.Entry, error) {
	var b *body
	link := ""
	var err error
	switch it.info.Type {
	case catalog.Regular:
		if first := r.firstName(it); first != "" {
			it.info.Type, link = catalog.HardLink, first
			break
		}
		if b, err = r.openBody(ctx, it); err != nil {
			return member{}, catalog.Entry{}, err
		}
	case catalog.Symlink:
		if link, err = it.dir.Readlink(ctx, it.name); err != nil {
			return member{}, catalog.Entry{}, err
		}
	}
	m, e, err := r.describe(ctx, it, link, b)
	if err != nil && b != nil {
		b.close()
	}
	return m, e, err
}

// firstName is the path under which the inode of a file with several names is
// in the archive already; else it notes this one.
func (r *Reader) firstName(it *item) string {
	if it.info.Nlink < 2 {
		return ""
	}
	return r.links[inode{it.info.Dev, it.info.Ino}]
}

// openBody opens a regular file. From here on it is the open file that is
// described, whatever happens to its name.
func (r *Reader) openBody(ctx context.Context, it *item) (*body, error) {
	f, err := it.dir.OpenFile(ctx, it.name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat(ctx)
	if err == nil && info.Type != catalog.Regular {
		err = fmt.Errorf("%s is no regular file any more", it.path)
	}
	var ext []tree.Extent
	if err == nil {
		it.info = info
		ext, err = f.Extents(ctx, info.Size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	if info.Nlink > 1 {
		r.links[inode{info.Dev, info.Ino}] = it.path
	}
	b := &body{file: f, path: it.path, info: info, problem: r.problem}
	if len(ext) == 1 && ext[0] == (tree.Extent{Length: info.Size}) || info.Size == 0 {
		b.extents = []tree.Extent{{Length: info.Size}}
	} else {
		b.sparse = true
		b.extents = alignExtents(ext, info.Size)
	}
	for _, x := range b.extents {
		b.size += x.Length
	}
	return b, nil
}

// describe makes the headers and the entry.
func (r *Reader) describe(ctx context.Context, it *item, link string, b *body) (member, catalog.Entry, error) {
	e := it.entry()
	e.Link, e.Offset = link, r.offset
	h := pax.Header{
		Name: it.archiveName(), Type: byte(e.Type), Mode: e.Mode, UID: e.UID, GID: e.GID,
		MTime: e.MTime, Link: link, Major: e.Major, Minor: e.Minor,
	}
	if e.Type == catalog.HardLink {
		h.Link = Name(link, catalog.Regular)
	} else {
		xs, err := it.dir.Xattrs(ctx, it.name)
		if err != nil {
			r.fileFailed(ctx, it.path, fmt.Errorf("its extended attributes: %w", err))
		}
		h.Records = xattrRecords(xs)
		e.XHash = hashXattrs(xs)
	}
	if e.Type != catalog.Regular {
		e.Size = 0
	}
	if e.CTime != 0 {
		h.Records = append(h.Records, pax.Record{Key: "ctime", Value: pax.FormatTime(e.CTime)})
	}
	var sparseMap []byte
	if b != nil {
		h.Size = b.size
		if b.sparse {
			sparseMap = appendMap(nil, b.extents)
			h.Size += int64(len(sparseMap))
			h.Records = append(sparseRecords(h.Name, b.info.Size), h.Records...)
			h.Name = path.Join(path.Dir(h.Name), "GNUSparseFile.0", path.Base(h.Name))
		}
	}
	head, err := h.Append(r.head[:0])
	if err != nil {
		return member{}, e, err
	}
	head = append(head, sparseMap...)
	r.head = head
	e.HeadLen = int64(len(head))
	if b != nil {
		e.DataLen = b.size
	}
	return member{head: head, body: b}, e, nil
}

func hashXattrs(xs []tree.Xattr) uint64 {
	if len(xs) == 0 {
		return 0
	}
	h := sha256.New()
	for _, x := range xs {
		fmt.Fprintf(h, "%d,%d,%s%s", len(x.Name), len(x.Value), x.Name, x.Value)
	}
	return binary.BigEndian.Uint64(h.Sum(nil)) | 1 // never 0, which is for none
}

// sparseRecords are the records of GNU.sparse 1.0 (GNU tar's manual, "PAX
// Format, Version 1.0").
func sparseRecords(name string, size int64) []pax.Record {
	return []pax.Record{
		{Key: "GNU.sparse.major", Value: "1"},
		{Key: "GNU.sparse.minor", Value: "0"},
		{Key: "GNU.sparse.name", Value: name},
		{Key: "GNU.sparse.realsize", Value: strconv.FormatInt(size, 10)},
	}
}

// alignExtents widens extents to whole blocks, since GNU tar pads the data of
// each, and adds an empty one at the end of a file that ends in a hole, which
// tells GNU tar the file's size.
func alignExtents(ext []tree.Extent, size int64) []tree.Extent {
	var out []tree.Extent
	for _, x := range ext {
		from := x.Offset &^ 511
		to := min((x.Offset+x.Length+511)&^511, size)
		if n := len(out); n > 0 && out[n-1].Offset+out[n-1].Length >= from {
			out[n-1].Length = to - out[n-1].Offset
		} else if to > from {
			out = append(out, tree.Extent{Offset: from, Length: to - from})
		}
	}
	if n := len(out); n == 0 || out[n-1].Offset+out[n-1].Length < size {
		out = append(out, tree.Extent{Offset: size})
	}
	return out
}

// appendMap writes the map that begins a sparse member's data.
func appendMap(b []byte, ext []tree.Extent) []byte {
	b = append(strconv.AppendInt(b, int64(len(ext)), 10), '\n')
	for _, x := range ext {
		b = append(strconv.AppendInt(b, x.Offset, 10), '\n')
		b = append(strconv.AppendInt(b, x.Length, 10), '\n')
	}
	return append(b, pax.Padding(int64(len(b)))...)
}

// body is the data of a regular file as its member will have it: exactly size
// bytes and the padding, whatever happens to the file meanwhile.
type body struct {
	file    tree.File
	path    string
	info    tree.Info // when it was opened
	extents []tree.Extent
	sparse  bool
	size    int64 // of all extents
	problem func(path, what string, err error)

	at      int64  // bytes given, padding included
	in      int    // the extent that is read
	into    int64  // bytes given of that extent
	crc     uint32 // of what was read, if not sparse
	damage  uint8
	zeroing bool // the file could not be read on: the rest is zeros
}

func (b *body) done() bool { return b.at == (b.size+511)&^511 }

// read fills p with the next bytes, at least one.
func (b *body) read(p []byte) int {
	for b.in < len(b.extents) && b.into == b.extents[b.in].Length {
		b.in, b.into = b.in+1, 0
	}
	var n int
	if b.in == len(b.extents) {
		n = int(min(int64(len(p)), (b.size+511)&^511-b.at))
		clear(p[:n])
	} else {
		x := b.extents[b.in]
		n = int(min(int64(len(p)), x.Length-b.into))
		b.readAt(p[:n], x.Offset+b.into)
		if !b.sparse {
			b.crc = crc32.Update(b.crc, stream.Castagnoli, p[:n])
		}
		b.into += int64(n)
	}
	b.at += int64(n)
	return n
}

// readAt fills p from the file; what the file does not have is zeros.
func (b *body) readAt(p []byte, offset int64) {
	n := 0
	if !b.zeroing {
		var err error
		n, err = b.file.ReadAt(p, offset)
		switch {
		case n == len(p):
			return
		case err == nil || errors.Is(err, io.EOF):
			b.damage |= catalog.Shrunk
			b.problem(b.path, ShrunkFile, nil)
		default:
			b.damage |= catalog.Changed
			b.problem(b.path, Unreadable, err)
		}
		b.zeroing = true
	}
	clear(p[n:])
}

// finish closes the file and tells how the copy differs from it.
func (b *body) finish(ctx context.Context) uint8 {
	defer b.close()
	if b.damage != 0 {
		return b.damage
	}
	now, err := b.file.Stat(ctx)
	switch {
	case err != nil:
		return 0
	case now.Size > b.info.Size:
		b.damage = catalog.Grown
		b.problem(b.path, GrownFile, nil)
	case now.Size < b.info.Size:
		b.damage = catalog.Shrunk
		b.problem(b.path, ShrunkFile, nil)
	case now.MTime != b.info.MTime:
		b.damage = catalog.Changed
		b.problem(b.path, ChangedNow, nil)
	}
	return b.damage
}

func (b *body) close() { b.file.Close() }
