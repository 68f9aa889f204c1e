// Package target is the virtual library as a SCSI target: the device servers of
// its robot (SMC-3) and of its drives (SSC-5), with what SPC-5 asks of both, over
// the same cartridges, drives and robot that the roles use.
//
// A [Target] has a logical unit for the robot, LUN 0, and one for each drive, from
// LUN 1 on. An initiator reaches them through its [Nexus]; each [LUN] of it is a
// [scsi.Transport], so that a driver can be linked to it in process, and a server
// can put a wire before it.
//
// A unit's commands run in the task of its device, one after another, between
// those that the roles give: so a unit's state needs no lock, and a command that
// has begun ends. The commands are in tables (tapecommands.go, changercommands.go)
// that say for each how long it may take and what a reservation means to it;
// server.go has the order in which they are checked.
//
// Numbers, names and layouts are those of SPC-5, SSC-5 and SMC-3.
package target
