// Package sametree compares two file trees, as a person would who does not
// believe that a restore gave everything back: names, types, contents, modes,
// owners, modification times, links, devices, extended attributes and ACLs. It
// shares no code with what backs up and restores.
package sametree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Report is what was found.
type Report struct {
	Entries     int64    // of the first tree, its root included
	Bytes       int64    // of its regular files
	Different   int      // how many differences there are
	Differences []string // the first of them, each with its path
}

// maxNamed is how many differences are named.
const maxNamed = 50

// Compare compares the tree at want with that at got. Sockets are left out, as
// nothing can restore them. Owners are compared if the caller is root: nobody
// else can restore them.
func Compare(want, got string) (Report, error) {
	c := &comparison{
		owners:    os.Geteuid() == 0,
		firstWant: map[inode]string{}, firstGot: map[inode]string{},
	}
	err := c.entry(".", want, got)
	return c.report, err
}

type inode struct{ dev, ino uint64 }

type comparison struct {
	owners bool
	report Report
	// By which path a file with several names was met first.
	firstWant, firstGot map[inode]string
}

func (c *comparison) differ(rel, format string, args ...any) {
	c.report.Different++
	if len(c.report.Differences) < maxNamed {
		c.report.Differences = append(c.report.Differences, rel+": "+fmt.Sprintf(format, args...))
	}
}

// entry compares what both trees have at a path: a and b are where it is reached.
func (c *comparison) entry(rel, a, b string) error {
	var sa, sb unix.Stat_t
	if err := unix.Lstat(a, &sa); err != nil {
		return fmt.Errorf("%s: %w", rel, err)
	}
	if sa.Mode&unix.S_IFMT == unix.S_IFSOCK {
		return nil
	}
	c.report.Entries++
	if err := unix.Lstat(b, &sb); errors.Is(err, unix.ENOENT) {
		c.differ(rel, "is missing")
		return nil
	} else if err != nil {
		return fmt.Errorf("%s: %w", rel, err)
	}
	if sa.Mode&unix.S_IFMT != sb.Mode&unix.S_IFMT {
		c.differ(rel, "type %07o became %07o", sa.Mode&unix.S_IFMT, sb.Mode&unix.S_IFMT)
		return nil
	}
	c.metadata(rel, &sa, &sb)
	if err := c.attributes(rel, a, b); err != nil {
		return err
	}
	switch sa.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return c.contents(rel, a, b, &sa, &sb)
	case unix.S_IFLNK:
		return c.target(rel, a, b)
	case unix.S_IFDIR:
		return c.directory(rel, a, b)
	}
	return nil
}

func (c *comparison) metadata(rel string, a, b *unix.Stat_t) {
	if a.Mode != b.Mode {
		c.differ(rel, "mode %04o became %04o", a.Mode&0o7777, b.Mode&0o7777)
	}
	if c.owners && (a.Uid != b.Uid || a.Gid != b.Gid) {
		c.differ(rel, "owner %d:%d became %d:%d", a.Uid, a.Gid, b.Uid, b.Gid)
	}
	if a.Mtim != b.Mtim {
		c.differ(rel, "modification time %d.%09d became %d.%09d", a.Mtim.Sec, a.Mtim.Nsec, b.Mtim.Sec, b.Mtim.Nsec)
	}
	if t := a.Mode & unix.S_IFMT; (t == unix.S_IFCHR || t == unix.S_IFBLK) && a.Rdev != b.Rdev {
		c.differ(rel, "device %#x became %#x", a.Rdev, b.Rdev)
	}
	if a.Mode&unix.S_IFMT == unix.S_IFDIR {
		return
	}
	first, again := met(c.firstWant, a, rel), met(c.firstGot, b, rel)
	if first != again {
		c.differ(rel, "was one file with %s, is one with %s", first, again)
	}
}

// met is the path by which the file was met first.
func met(firsts map[inode]string, s *unix.Stat_t, rel string) string {
	if s.Nlink < 2 {
		return rel
	}
	id := inode{s.Dev, s.Ino}
	if _, known := firsts[id]; !known {
		firsts[id] = rel
	}
	return firsts[id]
}

// attributes compares the extended attributes, ACLs among them.
func (c *comparison) attributes(rel, a, b string) error {
	xa, err := xattrs(a)
	if err != nil {
		return err
	}
	xb, err := xattrs(b)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(xa)) {
		if v, ok := xb[name]; !ok {
			c.differ(rel, "extended attribute %s is missing", name)
		} else if v != xa[name] {
			c.differ(rel, "extended attribute %s: %q became %q", name, xa[name], v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(xb)) {
		if _, ok := xa[name]; !ok {
			c.differ(rel, "extended attribute %s is new", name)
		}
	}
	return nil
}

func xattrs(path string) (map[string]string, error) {
	names, err := sized(func(p []byte) (int, error) { return unix.Llistxattr(path, p) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: extended attributes: %w", path, err)
	}
	all := map[string]string{}
	for name := range bytes.SplitSeq(names, []byte{0}) {
		if len(name) == 0 {
			continue
		}
		v, err := sized(func(p []byte) (int, error) { return unix.Lgetxattr(path, string(name), p) })
		if errors.Is(err, unix.ENODATA) {
			continue // it went meanwhile, or is not for us
		}
		if err != nil {
			return nil, fmt.Errorf("%s: extended attribute %s: %w", path, name, err)
		}
		all[string(name)] = string(v)
	}
	return all, nil
}

// sized calls a function that tells how large a buffer it wants.
func sized(get func(p []byte) (int, error)) ([]byte, error) {
	n, err := get(nil)
	if err != nil || n == 0 {
		return nil, err
	}
	p := make([]byte, n)
	n, err = get(p)
	return p[:max(n, 0)], err
}

func (c *comparison) target(rel, a, b string) error {
	ta, err := os.Readlink(a)
	if err != nil {
		return err
	}
	tb, err := os.Readlink(b)
	if err == nil && ta != tb {
		c.differ(rel, "link to %q became one to %q", ta, tb)
	}
	return err
}

// contents compares two regular files byte by byte.
func (c *comparison) contents(rel, a, b string, sa, sb *unix.Stat_t) error {
	c.report.Bytes += sa.Size
	if sa.Size != sb.Size {
		c.differ(rel, "size %d became %d", sa.Size, sb.Size)
		return nil
	}
	fa, err := os.OpenFile(a, os.O_RDONLY|syscall.O_NOATIME, 0)
	if errors.Is(err, fs.ErrPermission) {
		fa, err = os.Open(a)
	}
	if err != nil {
		return err
	}
	defer fa.Close() //nolint:errcheck // it was only read
	fb, err := os.Open(b)
	if err != nil {
		return err
	}
	defer fb.Close() //nolint:errcheck // it was only read
	return c.bytes(rel, fa, fb)
}

func (c *comparison) bytes(rel string, a, b io.Reader) error {
	pa, pb := make([]byte, 128<<10), make([]byte, 128<<10)
	for at := int64(0); ; {
		na, ea := io.ReadFull(a, pa)
		nb, eb := io.ReadFull(b, pb)
		if !bytes.Equal(pa[:na], pb[:nb]) {
			c.differ(rel, "the contents differ near byte %d", at)
			return nil
		}
		at += int64(na)
		for _, err := range []error{ea, eb} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return fmt.Errorf("%s: %w", rel, err)
			}
		}
		if ea != nil {
			return nil
		}
	}
}

// directory compares two directories. What is in them is reached through their
// descriptors: a path may be longer than a system call takes.
func (c *comparison) directory(rel, a, b string) error {
	da, err := os.Open(a)
	if err != nil {
		return err
	}
	defer da.Close() //nolint:errcheck // it was only read
	db, err := os.Open(b)
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // it was only read
	la, err := da.Readdirnames(-1)
	if err != nil {
		return err
	}
	lb, err := db.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(la)
	slices.Sort(lb)
	for _, name := range la {
		if err := c.entry(filepath.Join(rel, name), within(da, name), within(db, name)); err != nil {
			return err
		}
	}
	for _, name := range lb {
		if _, had := slices.BinarySearch(la, name); !had {
			c.differ(filepath.Join(rel, name), "is new")
		}
	}
	return nil
}

func within(dir *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}
