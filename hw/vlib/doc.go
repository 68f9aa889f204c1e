// Package vlib puts a virtual tape library into a process of its own, so that
// several processes of a media server share its drives and robot, and a drive
// outlives the process that was using it: as real devices do.
//
// The process runs [Serve] with a function that opens the library (package vtl);
// the others reach it with [Dial], which gives a [dev.Finder] whose drives and
// robot behave as the library's own.
//
// Requests and replies are frames of CBOR on a Unix socket (wire.go), in a
// directory of mode 0700, and each side checks that the kernel names its own user
// as the peer. Blocks do not go through the socket: a client hands a region of
// shared memory over once ([Client.RegisterRegion], the ring of a tape manager),
// and commands carry the place of a block in it. A block that lies in no region
// is copied through one of the handle's own.
//
// When a client dies, commands that have begun end, and nothing else happens:
// reservation, position and medium stay, until ltid takes the drive by force.
package vlib
