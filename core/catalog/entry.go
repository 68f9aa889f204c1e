// Package catalog holds what is known of the files of an image: the entries,
// and the files (.f) file that keeps them. docs/format-f.md describes the file.
package catalog

import "capstan/core/rt"

// Type is the type of a file, as tar(5) writes it.
type Type byte

// The types of file.
const (
	Regular   Type = '0'
	HardLink  Type = '1'
	Symlink   Type = '2'
	CharDev   Type = '3'
	BlockDev  Type = '4'
	Directory Type = '5'
	FIFO      Type = '6'
	// Gone is no file: when the image was made, the path that earlier images hold
	// was no more. A path that ends in "/" says so of all that was in a directory,
	// whatever has its name now.
	Gone Type = '-'
)

// Entry is what is known of one file of an image.
type Entry struct {
	Path  string  `json:"path"` // absolute on the client, bytes as they are, "/" between components
	Type  Type    `json:"type"`
	Mode  uint32  `json:"mode"` // permission bits with setuid, setgid and sticky: 07777
	UID   uint32  `json:"uid"`
	GID   uint32  `json:"gid"`
	Size  int64   `json:"size"`            // of a regular file, in bytes, holes included
	MTime rt.Time `json:"mtime"`           // last modification
	CTime rt.Time `json:"ctime,omitempty"` // last change of the inode
	Link  string  `json:"link,omitempty"`  // target of a symlink; path of the first name of a hard link
	Major uint32  `json:"major,omitempty"` // of a device
	Minor uint32  `json:"minor,omitempty"`
	Dev   uint64  `json:"dev,omitempty"` // identity of the inode on the client
	Ino   uint64  `json:"ino,omitempty"`
	XHash uint64  `json:"xhash,omitempty"` // digest of the extended attributes and ACLs, 0 for none
	CRC   uint32  `json:"crc,omitempty"`   // CRC-32C of a regular file's content, holes as zeros; 0 if it is not known

	Offset  int64 `json:"offset"`           // where the member's headers begin in the image's stream
	HeadLen int64 `json:"headLen"`          // length of its headers
	DataLen int64 `json:"dataLen"`          // length of its data in the archive, without padding
	Count   int64 `json:"count,omitempty"`  // files that a hollow entry stands for; 0 is 1
	Damage  uint8 `json:"damage,omitempty"` // why the copy is not what the file was: see below
}

// Damage says how a file's copy differs from the file.
const (
	Shrunk  = 1 << iota // the file became shorter while it was read; the rest is zeros
	Grown               // it became longer; the copy ends where it ended at first
	Changed             // its modification time changed while it was read
)

// Files is the number of files that the entry stands for.
func (e *Entry) Files() int64 {
	if e.Type == Gone {
		return 0
	}
	return max(e.Count, 1)
}

// End is where the member ends in the image's stream: padded to 512 bytes.
func (e *Entry) End() int64 { return e.Offset + e.HeadLen + (e.DataLen+511)&^511 }
