// Package vtl is the virtual tape library: cartridges, drives and a robot with
// their physics, behind the interfaces of core/dev. It runs in either world:
// every wait goes through core/rt, every file through core/store.
//
// A [Library] is made from a [Config] by [New]; [Demo] is a ready one with ten
// slots, eight cartridges and two drives. The library is a [dev.Finder]: what it
// returns are handles, one for each user of a device.
//
// Every device is one task that takes commands from a queue, one after another; a robot
// takes several moves at a time if it has several arms.
// So a command that has begun ends, whatever becomes of its caller, as it does
// at a real device; and a caller that is killed while it waits holds nothing. A drive that
// is free does brief commands in the task of their caller, in no time, and is then at
// work for as long as they take: most commands of a backup wake nobody else.
//
// A cartridge keeps its records in memory, or in a file of SIMH's .tap format
// (tap.go). Runs of blocks that nobody needs to hold (hollow blocks) are extents
// of the index and exist in memory only.
//
// How long things take comes from the tables in models.go, media.go and robots.go; each figure there
// names its source, or says that it is assumed. Arithmetic is on integers, so that a run gives the same
// times on every machine.
package vtl
