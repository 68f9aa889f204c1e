package fuse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"capstan/core/stage"
)

const prefix = "user.capstan."

// listed are the attributes that listxattr tells; the others are there for who asks.
var listed = []string{"locality", "image", "media", "position"}

// Getxattr tells where a file is. Programs that list ask for security labels and ACLs of
// every file, which there are none of.
func (n *file) Getxattr(_ context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	name, ours := strings.CutPrefix(attr, prefix)
	if !ours {
		return 0, syscall.ENODATA
	}
	var value string
	place := stage.PlaceOf(n.header, &n.e)
	switch name {
	case "locality":
		value = n.locality()
	case "image":
		value = n.header.ID
	case "media":
		value = strings.Join(n.media(), ",")
	case "position":
		value = fmt.Sprint(place.Block)
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

// Listxattr lists them.
func (n *file) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	var b strings.Builder
	for _, name := range listed {
		b.WriteString(prefix + name + "\x00")
	}
	return give(b.String(), dest)
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
