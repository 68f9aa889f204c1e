package fuse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"golang.org/x/sys/unix"

	"capstan/core/stage"
)

const prefix = "user.capstan."

// Getxattr tells where a file is, by names that are not listed: programs that copy
// attributes would copy them. A file's own attributes are not in the catalog, but with
// its contents once it is staged.
func (n *file) Getxattr(_ context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	name, ours := strings.CutPrefix(attr, prefix)
	if !ours {
		return n.own(attr, dest)
	}
	var value string
	switch name {
	case "locality":
		value = n.locality()
	case "image":
		value = n.header.ID
	case "media":
		value = strings.Join(n.media(), ",")
	case "position":
		value = fmt.Sprint(stage.PlaceOf(n.header, &n.e).Block)
	case "eta":
		eta := time.Duration(0)
		if n.locality() == nearline {
			eta = waitFor(len(n.media()), n.e.Size)
		}
		value = fmt.Sprint(int(eta.Seconds()))
	case "request":
		files, jobs := n.s.stager.Waiting()
		value = fmt.Sprintf("%d files waited for, %d restores running", files, jobs)
	default:
		return 0, syscall.ENODATA
	}
	return give(value, dest)
}

// own is an attribute that was backed up with a file. Programs that list ask for the
// label and the ACL of every file. That there is no ACL the kernel remembers; of labels it
// passes each question on, but programs do not ask again where they are not supported.
func (n *file) own(attr string, dest []byte) (uint32, syscall.Errno) {
	label := strings.HasPrefix(attr, "security.")
	switch {
	case n.e.XHash != 0:
		got, err := unix.Lgetxattr(n.s.staged.path(n.key()), attr, dest)
		if errors.Is(err, unix.EOPNOTSUPP) && !label {
			err = unix.ENODATA // of the staging directory's file system: to the kernel it would be an error
		}
		return size(got, err)
	case label:
		return 0, syscall.EOPNOTSUPP
	}
	return 0, syscall.ENODATA
}

// media are the cartridges that hold a part of the file.
func (n *file) media() (all []string) {
	for i := range n.header.Fragments {
		f := &n.header.Fragments[i]
		if f.Media != "" && f.Offset < n.e.End() && f.Offset+f.Length > n.e.Offset && !slices.Contains(all, f.Media) {
			all = append(all, f.Media)
		}
	}
	return all
}

// Listxattr lists the attributes of a file that is staged.
func (n *file) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	if n.e.XHash == 0 {
		return 0, 0
	}
	return size(unix.Llistxattr(n.s.staged.path(n.key()), dest))
}

// size is what the kernel is told of a length, or of an error: there is nothing of a
// file that is not staged.
func size(n int, err error) (uint32, syscall.Errno) {
	switch {
	case errors.Is(err, unix.ENOENT):
		return 0, syscall.ENODATA
	case err != nil:
		return 0, fs.ToErrno(err)
	}
	return uint32(n), 0
}

func give(value string, dest []byte) (uint32, syscall.Errno) {
	if len(dest) == 0 {
		return uint32(len(value)), 0
	}
	if len(dest) < len(value) {
		return uint32(len(value)), syscall.ERANGE
	}
	return uint32(copy(dest, value)), 0
}
