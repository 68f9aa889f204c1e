package fuse

import (
	"testing"

	"capstan/core/catalog"
	"capstan/core/image"
)

// TestInodes: in one view two names have one inode if they are of one file of one image,
// and else not, though a newer image has another file at the path of the first.
func TestInodes(t *testing.T) {
	older, newer := image.Header{ID: "c_1", Time: 1}, image.Header{ID: "c_2", Time: 2, Began: 2, Since: 1}
	src := asOf([]image.Header{older, newer}, newer)
	link := src.inode(&older, &catalog.Entry{Path: "/b", Type: catalog.HardLink, Link: "/a"})
	if first := src.inode(&older, &catalog.Entry{Path: "/a", Type: catalog.Regular}); first != link {
		t.Error("two names of a file have two inodes")
	}
	if replaced := src.inode(&newer, &catalog.Entry{Path: "/a", Type: catalog.Regular}); replaced == link {
		t.Error("a link has the inode of what has replaced its file")
	}
	if asOf([]image.Header{newer}, newer).key == src.key {
		t.Error("a source is known by the same when one of its images has expired")
	}
}
