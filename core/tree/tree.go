// Package tree is the seam of file trees: what bpbkar and tar need of a
// client's files. Everything goes through handles of opened directories, one
// name at a time, never following a symbolic link: a path never leaves the
// handle it was opened under.
package tree

import (
	"context"
	"errors"
	"io"

	"capstan/core/catalog"
	"capstan/core/rt"
)

// Conditions of the file system. Errors of this seam wrap one of them or the
// operating system's own error, with the operation and the path.
var (
	ErrNotExist   = errors.New("no such file or directory")
	ErrExist      = errors.New("file exists")
	ErrNotDir     = errors.New("not a directory")
	ErrIsDir      = errors.New("is a directory")
	ErrPermission = errors.New("permission denied")
	ErrNoSpace    = errors.New("no space left on device")
	ErrBadName    = errors.New("not the name of one directory entry")
	ErrNotRegular = errors.New("not a regular file")
)

// FS is a host's file system.
type FS interface {
	// Open opens the directory at an absolute path, following symbolic links on
	// the way as the host's administrator set them up.
	Open(ctx context.Context, path string) (Dir, error)
}

// Info is what lstat says of a file.
type Info struct {
	Type  catalog.Type // 0 for a socket, and for what no archive holds
	Mode  uint32       // 07777
	UID   uint32
	GID   uint32
	Size  int64
	MTime rt.Time
	CTime rt.Time
	Nlink uint64
	Dev   uint64 // of the file system that holds the file
	Ino   uint64
	Major uint32 // of a device
	Minor uint32
	// Files is 0 for a file with bytes. It is 1 for a hollow file, and greater for a
	// generated entry that stands for that many files of together Size bytes: both
	// in the virtual world only.
	Files int64
}

// Xattr is one extended attribute; POSIX ACLs are the attributes
// system.posix_acl_access and system.posix_acl_default, as the kernel gives them.
type Xattr struct {
	Name  string
	Value []byte
}

// Extent is a range of a file that holds data.
type Extent struct{ Offset, Length int64 }

// Dir is an open directory. Names are single components: not empty, not "." or
// "..", without "/" and NUL; others give [ErrBadName].
type Dir interface {
	Close() error
	// Names gives the directory's names sorted by bytes, without "." and "..".
	Names(ctx context.Context) ([]string, error)
	// Stat is fstat of the directory itself.
	Stat(ctx context.Context) (Info, error)
	Lstat(ctx context.Context, name string) (Info, error)
	OpenDir(ctx context.Context, name string) (Dir, error)
	// OpenFile opens a regular file for reading, not waiting on a FIFO.
	OpenFile(ctx context.Context, name string) (File, error)
	Readlink(ctx context.Context, name string) (string, error)
	// Xattrs lists the attributes of a file, or of the directory itself for "".
	Xattrs(ctx context.Context, name string) ([]Xattr, error)

	Mkdir(ctx context.Context, name string, mode uint32) error
	// Create makes a new regular file for writing; [ErrExist] if there is one.
	Create(ctx context.Context, name string, mode uint32) (NewFile, error)
	Symlink(ctx context.Context, target, name string) error
	// Link makes name a hard link to a file of another directory of the same FS.
	Link(ctx context.Context, from Dir, old, name string) error
	// Mknod makes a device or a FIFO as i says.
	Mknod(ctx context.Context, name string, i Info) error
	// Rename renames within the directory, replacing what has the new name.
	Rename(ctx context.Context, old, name string) error
	// Remove removes a file or an empty directory.
	Remove(ctx context.Context, name string) error
	// SetMeta sets owner, then mode (not of symbolic links), then extended
	// attributes, then the modification time of a file; of the directory itself
	// for "". It does all it can and joins the errors.
	SetMeta(ctx context.Context, name string, i Info, xattrs []Xattr) error
}

// Syncer is a [Dir] that can make all of its file system durable at once, which
// for many small files takes a fraction of what [NewFile]'s Sync of each does.
type Syncer interface {
	SyncFS(ctx context.Context) error
}

// File is an open file. A hollow file's ReadAt gives [ErrHollow].
type File interface {
	io.ReaderAt
	Stat(ctx context.Context) (Info, error)
	// Extents lists where the file holds data, in order, up to size; a file
	// without holes gives one extent.
	Extents(ctx context.Context, size int64) ([]Extent, error)
	Close() error
}

// ErrHollow is returned when somebody asks for the bytes of a file that has none
// in the virtual world.
var ErrHollow = errors.New("the file is hollow: it has a size and no bytes")

// NewFile is a file being written.
type NewFile interface {
	io.WriterAt
	// Truncate sets the size: what was not written is a hole.
	Truncate(size int64) error
	// WriteHollow stands for n bytes at an offset that nobody holds; the real
	// world refuses it with [ErrHollow].
	WriteHollow(ctx context.Context, offset, n int64) error
	Sync() error
	Close() error
}
