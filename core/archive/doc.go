// Package archive turns file trees into the stream of an image and back: what
// bpbkar and tar do.
//
// The image's stream is a POSIX pax archive (package pax beneath writes its
// headers) that any tar reads: one member for each file, in order of path, then
// two blocks of zeros. What ustar does not hold is in pax records: names that are
// long, nanoseconds, extended attributes (SCHILY.xattr.*), POSIX ACLs (as their
// attribute, and as SCHILY.acl.* text for GNU tar), sparse files (GNU.sparse 1.0,
// whose map is taken for a part of the headers here). docs/format-media.md shows
// the bytes.
//
// [Reader] walks the trees of a [Selection] and is a [stream.Source]; [Writer]
// takes whole members in any number and is a [stream.Sink]. What goes wrong with
// one file is a [Problem], reported to the caller, and does not end the rest.
package archive
