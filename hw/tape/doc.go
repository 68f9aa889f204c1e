// Package tape drives real tape drives.
//
// [Open] makes a [dev.Drive] of a generic SCSI device: every command is its own, and
// nothing of the kernel's tape driver is believed or needed. [OpenST] makes one of the
// kernel's tape driver, /dev/nst*, for where that is what an operator has.
//
// # The position
//
// A drive that was reset, or whose medium was changed, goes on taking WRITEs: at the
// beginning of the tape, over what is there. So a drive here is at a known position
// or it is not, and while it is not, reads, writes and erasures are refused with
// [dev.ErrPositionLost]. Position, Locate, Rewind, Load and SpaceToEnd make it known
// again. After a changed medium only Load and Rewind do, with which its user begins
// anew and looks at the label.
//
// The position is counted in software and compared with the drive's own after each
// filemark that is not immediate. A drive that cannot say where it is has the count
// alone, which begins at the beginning of the medium.
//
// # What a drive cannot do
//
// is learnt from its list of commands when it is opened, else from its first refusal.
// LOCATE and SPACE are then worked around by reading from the beginning; what has no
// substitute is refused with [dev.ErrNotSupported].
package tape
