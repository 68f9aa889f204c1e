// Package stage decides which files are fetched from media for those who wait for
// them, in what order, and in which restore jobs. The mount asks it; the virtual world
// runs the same decisions.
//
// A cartridge is mounted for somebody who waits, never for what somebody may want
// soon. Once it is, everything is read from it that is known to be wanted, in the order
// in which it stands there, and what will probably be wanted next is read on the way.
// So a folder whose files lie on three cartridges costs three mounts, though whoever
// copies it opens one file after the other.
package stage
