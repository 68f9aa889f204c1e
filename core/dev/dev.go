// Package dev is the seam of devices: tape drives, medium changers and what
// they answer. The virtual library implements it with physics, the hardware
// layer with SCSI; errors say what a SCSI sense says.
package dev

import (
	"context"
	"errors"
	"fmt"
)

// Conditions that a device reports. Errors of this seam wrap one of them; the
// numbers are sense key, ASC and ASCQ of SPC-5 and SSC-5.
var (
	ErrNotReady         = errors.New("not ready")                          // 2/04/xx
	ErrNoMedium         = errors.New("no medium in the drive")             // 2/3A/00
	ErrFilemark         = errors.New("filemark")                           // 0/00/01: a read met a filemark and is past it
	ErrEndOfData        = errors.New("end of data")                        // 8/00/05
	ErrBeginning        = errors.New("beginning of medium")                // 0/00/04
	ErrEarlyWarning     = errors.New("early warning: end of medium nears") // 0/00/02: the block was written
	ErrVolumeOverflow   = errors.New("volume overflow")                    // D/00/02: the block was not written
	ErrMedium           = errors.New("medium error")                       // 3/xx
	ErrHardware         = errors.New("hardware error")                     // 4/xx
	ErrWriteProtected   = errors.New("write protected")                    // 7/27/00
	ErrCleaning         = errors.New("cleaning required")                  // 0/00/17
	ErrReservation      = errors.New("reservation conflict")               // status 18h
	ErrPositionLost     = errors.New("position lost")                      // 6/29/00: reset; the position must be read again
	ErrBlockTooLong     = errors.New("block is longer than the buffer")    // 0/00/00 with ILI
	ErrIncompatible     = errors.New("medium is incompatible")             // 3/30/xx
	ErrSourceEmpty      = errors.New("source element is empty")            // 5/3B/0E
	ErrDestinationFull  = errors.New("destination element is full")        // 5/3B/0D
	ErrBadElement       = errors.New("no such element")                    // 5/21/01
	ErrRemovalPrevented = errors.New("removal of the medium is prevented") // 5/53/02
	ErrNotSupported     = errors.New("the device does not do this")        // 5/20/00
	ErrGone             = errors.New("the device does not answer")         // transport

	ErrNotLoaded           = errors.New("the medium is in the drive and not loaded")       // 2/04/02
	ErrOperator            = errors.New("the device waits for an operator")                // 2/04/03, 2/04/12
	ErrCleaningCartridge   = errors.New("a cleaning cartridge is in the drive")            // 2/30/03
	ErrProtection          = errors.New("a block was changed on its way to the drive")     // 4/10/01: logical block protection
	ErrEncryption          = errors.New("the encryption key is missing, wrong or changed") // 7/74/xx, 6/2A/11
	ErrMediumChanged       = errors.New("the medium may have changed")                     // 6/28/00: the position is not known
	ErrInventoryChanged    = errors.New("a mail slot or a magazine was opened")            // 6/28/01
	ErrAttention           = errors.New("the device's parameters or state have changed")   // 6/xx
	ErrAborted             = errors.New("the device aborted the command")                  // B/xx
	ErrProgrammableWarning = errors.New("programmable early warning")                      // 0/00/07: the block was written
)

// Error is a condition met by an operation on a device.
type Error struct {
	Device string // the device's name
	Op     string // the operation, in the standards' words: "WRITE", "MOVE MEDIUM"
	Sense  Sense  // what the device said, if it said it in sense data
	Err    error  // one of the conditions above
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s: %v", e.Device, e.Op, e.Err)
	if e.Sense != (Sense{}) {
		s += " (sense " + e.Sense.String() + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Sense is sense key, additional sense code and qualifier.
type Sense struct{ Key, ASC, ASCQ uint8 }

func (s Sense) String() string { return fmt.Sprintf("%X/%02X/%02X", s.Key, s.ASC, s.ASCQ) }

// Position is where a drive is on its medium (READ POSITION, long form).
type Position struct {
	Block int64 // logical object number from the beginning; filemarks count
	File  int64 // filemarks passed
	BOP   bool  // at the beginning
	EOP   bool  // past early warning
}

// DriveStatus is what a drive says of itself without moving.
type DriveStatus struct {
	Loaded         bool
	Ready          bool
	WriteProtected bool
	CleaningNeeded bool
	WriteOnce      bool   // a WORM medium: it can be appended to, and nothing of it overwritten
	Density        string // of the medium, "LTO-9"; "" if none
	Written        int64  // bytes written to the medium so far, if the drive knows
	Capacity       int64  // native bytes of the medium, if the drive knows
}

// Drive is one tape drive. It is used by one process at a time, which says so by
// Reserve. Blocks are of variable length; a logical object is a block or a filemark.
type Drive interface {
	Name() string
	Status(ctx context.Context) (DriveStatus, error)
	// Reserve takes the drive for a holder, "" gives it back. [ErrReservation] if
	// another holds it; force takes it from a holder that is known to be dead.
	Reserve(ctx context.Context, holder string, force bool) error
	// Load makes a medium that the robot has put in ready, at its beginning.
	Load(ctx context.Context) error
	// Unload rewinds and ejects so that the robot can take the medium. What was
	// written is durable when it returns.
	Unload(ctx context.Context) error
	Rewind(ctx context.Context) error
	// Locate goes to a logical object.
	Locate(ctx context.Context, block int64) error
	// Space moves over n filemarks, back if n < 0 (then it stops before the mark).
	Space(ctx context.Context, filemarks int) error
	// SpaceToEnd goes to the end of data.
	SpaceToEnd(ctx context.Context) error
	Position(ctx context.Context) (Position, error)
	// Read reads one block into p. [ErrFilemark], [ErrEndOfData], [ErrBlockTooLong].
	Read(ctx context.Context, p []byte) (int, error)
	// Write writes one block. [ErrEarlyWarning] says that it was written and that
	// little room is left; [ErrVolumeOverflow] that it was not. It is durable only
	// after a WriteFilemarks that is not immediate.
	Write(ctx context.Context, p []byte) error
	// WriteFilemarks writes n filemarks; n = 0, not immediate, only makes durable.
	WriteFilemarks(ctx context.Context, n int, immediate bool) error
	// Erase makes the medium empty from here on.
	Erase(ctx context.Context) error
	Close() error
}

// HollowDrive is a drive of the virtual world, which also keeps runs of blocks
// without bytes.
type HollowDrive interface {
	Drive
	// WriteHollow writes blocks of size bytes until n bytes are written, the last
	// block maybe shorter, or early warning; it returns the bytes written. via are
	// the resources that the data crossed to get here.
	WriteHollow(ctx context.Context, n, size int64, via []Resource) (int64, error)
	// ReadHollow reads as many bytes of the hollow run at the position as there
	// are, at most n; 0 if what comes next is not hollow. via are the resources
	// that the data will cross.
	ReadHollow(ctx context.Context, n int64, via []Resource) (int64, error)
}

// Resource is something with a limited rate that data crosses.
type Resource struct {
	Name string
	Rate int64 // bytes a second; 0 is without limit
	// Stream is the most that one transfer gets of it, in bytes a second, however
	// few there are; 0 is all.
	Stream int64
}

// ElementKind is the kind of an element of a library (SMC-3).
type ElementKind uint8

// The kinds of element.
const (
	Transport    ElementKind = 1 // the robot's hand
	Slot         ElementKind = 2 // storage element
	ImportExport ElementKind = 3 // mail slot
	DriveElement ElementKind = 4 // data transfer element
)

func (k ElementKind) String() string {
	switch k {
	case Transport:
		return "transport"
	case Slot:
		return "slot"
	case ImportExport:
		return "import/export"
	case DriveElement:
		return "drive"
	}
	return fmt.Sprintf("element kind %d", uint8(k))
}

// Element is one place for a cartridge.
type Element struct {
	Address int         `json:"address"`
	Kind    ElementKind `json:"kind"`
	Full    bool        `json:"full"`
	Barcode string      `json:"barcode,omitempty"` // of the cartridge in it; "" if it has none
	Source  int         `json:"source,omitempty"`  // where the cartridge came from, 0 if unknown
	Serial  string      `json:"serial,omitempty"`  // of the drive at a drive element (DVCID)
	// Problem is what keeps the element from being used, in words; "" if nothing is known.
	Problem string `json:"problem,omitempty"`
}

// Changer is one robot.
type Changer interface {
	Name() string
	// Inventory reads every element's state (READ ELEMENT STATUS).
	Inventory(ctx context.Context) ([]Element, error)
	// Move carries a cartridge between elements (MOVE MEDIUM).
	Move(ctx context.Context, from, to int) error
	Close() error
}

// Rescanner is a robot that can look anew at what is where, rather than tell what it
// remembers (INITIALIZE ELEMENT STATUS). It takes minutes.
type Rescanner interface {
	Rescan(ctx context.Context) error
}

// Overlapping is a robot that takes several moves at a time, because it has several arms:
// Moves is how many may be asked for beside each other.
type Overlapping interface {
	Moves() int
}

// Finder gives the devices of a host by their configured names.
type Finder interface {
	Drive(ctx context.Context, name string) (Drive, error)
	Changer(ctx context.Context, name string) (Changer, error)
}
