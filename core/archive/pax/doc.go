// Package pax writes and reads the headers of POSIX pax archives (POSIX.1-2017,
// pax, "pax Interchange Format"), block by block and without any file system.
//
// A member of an archive is a ustar header of 512 bytes, before it an extended
// header ('x') of records for what ustar cannot say, and after it its data,
// padded to 512 bytes. [Header.Append] writes the first two; [ParseBlock] and
// [ParseRecords] read them. A global header ('g') has records for all members
// that follow ([AppendGlobal]).
//
// The standard library's archive/tar writes neither sparse files nor the
// continuation of a member on a further volume; it is an oracle of this
// package's tests, as GNU tar is.
package pax
