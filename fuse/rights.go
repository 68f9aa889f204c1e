package fuse

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"capstan/core/catalog"
)

// person is who asks, in the words of the kernel.
type person struct {
	uid    uint32
	groups []uint32
}

// personOf is who made a request. Groups beyond his first are those of his process: the
// kernel does not send them.
func personOf(ctx context.Context) person {
	c, ok := fuse.FromContext(ctx)
	if !ok {
		return person{uid: nobody}
	}
	p := person{uid: c.Uid, groups: []uint32{c.Gid}}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Pid))
	if err != nil {
		return p
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		list, ok := strings.CutPrefix(lines.Text(), "Groups:")
		if !ok {
			continue
		}
		for g := range strings.FieldsSeq(list) {
			if n, err := strconv.ParseUint(g, 10, 32); err == nil {
				p.groups = append(p.groups, uint32(n))
			}
		}
	}
	return p
}

// name is how package stage knows him.
func (p person) name() string { return fmt.Sprint(p.uid) }

// nobody is a user that is none: the kernel's number for one that it cannot tell.
const nobody = 65534

// owns tells whether the mount is his: its identity is what restores are asked for by.
func (p person) owns() bool { return p.uid == 0 || int(p.uid) == os.Geteuid() }

const (
	readable   = 4
	searchable = 1
)

// may tells whether a file's mode lets a person read or search it. The kernel asks the
// same of who opens it.
func (p person) may(e *catalog.Entry, what uint32) bool {
	mode := e.Mode
	switch {
	case p.owns():
		return true
	case e.UID == p.uid:
		mode >>= 6
	case slices.Contains(p.groups, e.GID):
		mode >>= 3
	}
	return mode&what != 0
}

// reaches tells whether a person may search all directories above a path of a view.
func (p person) reaches(ctx context.Context, v *catalog.View, at string) (bool, error) {
	for dir := path.Dir(at); dir != "/" && !p.owns(); dir = path.Dir(dir) {
		f, ok, err := v.Lookup(ctx, dir)
		if err != nil {
			return false, err
		}
		if ok && !p.may(&f.Entry, searchable) {
			return false, nil
		}
	}
	return true, nil
}

// errForbidden is that somebody asks for what he could not read.
var errForbidden = fmt.Errorf("it is not readable for who asks: %w", syscall.EACCES)
