package fuse

import (
	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// MountFailing mounts a directory of files that can be read, and whose new contents the
// kernel takes and cannot write.
func MountFailing(dir string, files ...string) (*fuse.Server, error) {
	o := fuse.MountOptions{ExtraCapabilities: fuse.CAP_WRITEBACK_CACHE}
	return fs.Mount(dir, &failing{files: files}, &fs.Options{MountOptions: o})
}
