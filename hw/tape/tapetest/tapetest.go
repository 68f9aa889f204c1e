// Package tapetest is what goes wrong with a tape drive: the conditions with which
// a drive ends a command, the operations that meet them, and the words for what came
// of it. The same table judges the driver on a drive in memory and through the kernel.
package tapetest

import (
	"bytes"
	"context"
	"errors"

	"capstan/core/dev"
	"capstan/core/scsi"
)

// Condition is how a drive ends a command: with sense data, a status, or not at all.
type Condition struct {
	Name   string
	Sense  scsi.Sense
	Status scsi.Status // if it is not CHECK CONDITION
	Err    error       // of the transport
}

func sensed(name string, key, asc, ascq uint8) Condition {
	return Condition{Name: name, Sense: scsi.Sense{Sense: dev.Sense{Key: key, ASC: asc, ASCQ: ascq}}}
}

func flagged(s Condition, set func(s *scsi.Sense)) Condition {
	set(&s.Sense)
	return s
}

// Conditions are what drives say, by key.
func Conditions() []Condition {
	eom := func(s *scsi.Sense) { s.EOM = true }
	late := func(s *scsi.Sense) { s.Deferred = true }
	return []Condition{
		flagged(sensed("early warning", 0, 0, 2), eom),
		sensed("programmable early warning", 0, 0, 7),
		sensed("cleaning requested", 0, 0, 0x17),
		sensed("cleaning requested, IBM", 0, 0x82, 0x82),
		sensed("recovered", 1, 0x17, 1),
		flagged(sensed("an earlier error recovered", 1, 0x17, 1), late),
		sensed("becoming ready", 2, 4, 1),
		sensed("not loaded", 2, 4, 2),
		sensed("operator", 2, 4, 3),
		sensed("cleaning cartridge", 2, 0x30, 3),
		sensed("no medium", 2, 0x3A, 0),
		sensed("write error", 3, 0x0C, 0),
		flagged(sensed("an earlier write's error", 3, 0x0C, 0), late),
		sensed("read error", 3, 0x11, 0),
		sensed("foreign format", 3, 0x30, 2),
		sensed("end of data not found", 3, 0x14, 3),
		sensed("block guard", 4, 0x10, 1),
		sensed("hardware", 4, 0x44, 0),
		sensed("unknown operation code", 5, 0x20, 0),
		sensed("invalid field", 5, 0x24, 0),
		sensed("removal prevented", 5, 0x53, 2),
		sensed("medium changed", 6, 0x28, 0),
		sensed("power on", 6, 0x29, 0),
		sensed("bus reset", 6, 0x29, 2),
		sensed("mode parameters changed", 6, 0x2A, 1),
		sensed("reservations preempted", 6, 0x2A, 3),
		sensed("key changed by another", 6, 0x2A, 0x11),
		sensed("microcode changed", 6, 0x3F, 1),
		sensed("write protected", 7, 0x27, 0),
		sensed("no key", 7, 0x74, 1),
		sensed("end of data", 8, 0, 5),
		sensed("no end of data", 8, 0x14, 3),
		sensed("aborted", 0xB, 0x47, 3),
		flagged(sensed("volume overflow", 0xD, 0, 2), eom),
		{Name: "reservation conflict", Status: scsi.ReservationConflict},
		{Name: "busy", Status: scsi.Busy},
		{Name: "task set full", Status: scsi.TaskSetFull},
		{Name: "task aborted", Status: scsi.TaskAborted},
		{Name: "does not answer", Err: dev.ErrGone},
	}
}

// Dones are the ways in which a drive may have met the condition: with the command
// carried out (true), not, or either, which nobody can tell from an error.
func (c *Condition) Dones() []bool {
	switch {
	case c.Sense.Deferred, c.Status != 0:
		return []bool{false} // by the standards it was not begun
	case c.Err != nil:
		return []bool{false, true}
	}
	switch c.Sense.Key {
	case scsi.NoSense, scsi.RecoveredError:
		return []bool{true}
	case scsi.MediumError, scsi.HardwareError, scsi.AbortedCommand:
		return []bool{false, true}
	}
	return []bool{false}
}

// Block is the contents of block n.
func Block(n, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n*7 + i*13 + i>>8)
	}
	return b
}

// Layout is what stands on the medium, durably, before an operation: blocks, and nil
// for a filemark. Operations begin behind it.
func Layout() [][]byte {
	return [][]byte{Block(0, 1000), Block(1, 1000), Block(2, 1000), nil, Block(4, 100), nil, nil}
}

// Fresh is the block that the operation "Write" writes.
func Fresh() []byte { return Block(7, 100) }

// Operation is a call of the drive, and the command at which it is disturbed.
type Operation struct {
	Name   string
	Code   byte // the command's operation code
	Writes bool
	// From is the object at which the operation begins, To the one at which the drive
	// is when it went well.
	From, To int
	Before   func(ctx context.Context, d dev.Drive) error // comes to From
	Run      func(ctx context.Context, d dev.Drive) error
}

// ErrWrongBytes is a read that gave other bytes than were written.
var ErrWrongBytes = errors.New("WRONG BYTES")

// Operations are the calls that move or change something, or ask.
func Operations() []Operation {
	to4 := func(ctx context.Context, d dev.Drive) error { return d.Locate(ctx, 4) }
	unload := func(ctx context.Context, d dev.Drive) error { return d.Unload(ctx) }
	return []Operation{
		{"Write", scsi.Write6, true, 7, 8, nil, func(ctx context.Context, d dev.Drive) error { return d.Write(ctx, Fresh()) }},
		{"Filemark", scsi.WriteFilemarks6, true, 7, 8, nil, func(ctx context.Context, d dev.Drive) error { return d.WriteFilemarks(ctx, 1, false) }},
		{"Immediate", scsi.WriteFilemarks6, true, 7, 8, nil, func(ctx context.Context, d dev.Drive) error { return d.WriteFilemarks(ctx, 1, true) }},
		{"Read", scsi.Read6, false, 4, 5, to4, read4},
		{"Locate", scsi.Locate16, false, 7, 2, nil, func(ctx context.Context, d dev.Drive) error { return d.Locate(ctx, 2) }},
		{"Space", scsi.Space6, false, 7, 6, nil, func(ctx context.Context, d dev.Drive) error { return d.Space(ctx, -1) }},
		{"ToEnd", scsi.Space6, false, 4, 7, to4, func(ctx context.Context, d dev.Drive) error { return d.SpaceToEnd(ctx) }},
		{"Rewind", scsi.Rewind, false, 7, 0, nil, func(ctx context.Context, d dev.Drive) error { return d.Rewind(ctx) }},
		{"Position", scsi.ReadPosition, false, 7, 7, nil, func(ctx context.Context, d dev.Drive) error { _, err := d.Position(ctx); return err }},
		{"Erase", scsi.Erase6, true, 7, 7, nil, func(ctx context.Context, d dev.Drive) error { return d.Erase(ctx) }},
		{"Unload", scsi.LoadUnload, false, 7, 0, nil, unload},
		{"Load", scsi.LoadUnload, false, 0, 0, unload, func(ctx context.Context, d dev.Drive) error { return d.Load(ctx) }},
	}
}

func read4(ctx context.Context, d dev.Drive) error {
	p := make([]byte, 100)
	n, err := d.Read(ctx, p)
	if err == nil && !bytes.Equal(p[:n], Layout()[4]) {
		return ErrWrongBytes
	}
	return err
}

// Undocumented begins the word for an error that is none of package dev.
const Undocumented = "UNDOCUMENTED"

// documented are the conditions of package dev, by the words of the table.
var documented = []struct {
	err  error
	word string
}{
	{dev.ErrFilemark, "filemark"}, {dev.ErrEarlyWarning, "early warning"}, {dev.ErrProgrammableWarning, "warning"},
	{dev.ErrNotLoaded, "not loaded"}, {dev.ErrNoMedium, "no medium"}, {dev.ErrOperator, "operator"}, {dev.ErrCleaningCartridge, "cleaning"},
	{dev.ErrMediumChanged, "changed"}, {dev.ErrEncryption, "encryption"}, {dev.ErrAttention, "attention"}, {dev.ErrReservation, "reservation"},
	{dev.ErrEndOfData, "end of data"}, {dev.ErrBeginning, "beginning"}, {dev.ErrVolumeOverflow, "overflow"},
	{dev.ErrIncompatible, "incompatible"}, {dev.ErrProtection, "protection"}, {dev.ErrMedium, "medium"}, {dev.ErrHardware, "hardware"},
	{dev.ErrSourceEmpty, "source empty"}, {dev.ErrDestinationFull, "destination full"}, {dev.ErrBadElement, "bad element"},
	{dev.ErrInventoryChanged, "inventory changed"}, {dev.ErrWriteProtected, "protected"}, {dev.ErrRemovalPrevented, "prevented"}, {dev.ErrNotSupported, "not supported"},
	{dev.ErrAborted, "aborted"}, {dev.ErrGone, "gone"}, {dev.ErrNotReady, "not ready"}, {dev.ErrPositionLost, "position lost"},
}

// Word is the word for an outcome; one that is not documented is told as it is.
func Word(err error) string {
	if err == nil {
		return "done"
	}
	for _, d := range documented {
		if errors.Is(err, d.err) {
			return d.word
		}
	}
	return Undocumented + " " + err.Error()
}
