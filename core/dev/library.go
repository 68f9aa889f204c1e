package dev

import (
	"context"
	"time"
)

// MaxBlock is the longest block, in bytes: what LTO drives answer to READ BLOCK
// LIMITS.
const MaxBlock = 8 << 20

// Library is a virtual library, which beside what a real one does can be looked
// into and disturbed.
type Library interface {
	Finder
	// Inject adds a fault; ClearFaults forgets every one that was not taken yet.
	Inject(f Fault)
	ClearFaults()
	// PowerCycle loses what a drive's buffer held and resets it: the medium is at
	// its beginning, and reads and writes answer [ErrPositionLost] until the drive
	// was asked for its position or sent somewhere.
	PowerCycle(ctx context.Context, drive string) error
	// Stats are what the robot and the drives did since the library was made.
	Stats() (RobotStats, []DriveStats)
	// TakeOut and PutIn are a person's hand at the mail slots.
	TakeOut(ctx context.Context, address int) (barcode string, err error)
	PutIn(ctx context.Context, barcode string, address int) error
	// Close lets commands that have begun end and makes what was written durable.
	Close(ctx context.Context) error
}

// The operations, in the words of SSC and SMC, as [Error] and [Fault] name them.
const (
	OpStatus        = "TEST UNIT READY"
	OpReserve       = "RESERVE"
	OpLoad          = "LOAD"
	OpUnload        = "UNLOAD"
	OpRewind        = "REWIND"
	OpLocate        = "LOCATE"
	OpSpace         = "SPACE"
	OpPosition      = "READ POSITION"
	OpRead          = "READ"
	OpWrite         = "WRITE"
	OpFilemarks     = "WRITE FILEMARKS"
	OpErase         = "ERASE"
	OpElementStatus = "READ ELEMENT STATUS"
	OpMove          = "MOVE MEDIUM"
)

// Fault makes operations fail. It is taken by those that match, in order.
type Fault struct {
	// Device is the drive's or robot's name, or the barcode of the cartridge that
	// the operation is about; "" is any.
	Device string
	// Op is one of the operations above; "" is any.
	Op string
	// Skip lets so many matching operations pass first; Times fails so many after
	// them, 0 means one, -1 all.
	Skip, Times int
	// Delay is how long the device hangs before it answers, in its own time.
	Delay time.Duration
	// Err is a condition of this package; nil is a delay alone.
	Err error
	// Done has the operation carried out before the error is reported: its outcome
	// is then not what the caller is told. It is implied by [ErrEarlyWarning],
	// [ErrProgrammableWarning] and [ErrCleaning], which report on an operation that was done.
	Done bool
	// Drop has a robot lose the cartridge on its way: it is in no element after.
	Drop bool
}

// DriveStats is what a drive did since the library was made. Times are the
// device's own: what the commands take by its model. A command may count from its
// beginning, with all the time that it will take.
type DriveStats struct {
	Name         string        `json:"name"`
	Mounts       int64         `json:"mounts"`
	BytesRead    int64         `json:"bytes_read"`
	BytesWritten int64         `json:"bytes_written"`
	Filemarks    int64         `json:"filemarks"` // written
	Loading      time.Duration `json:"loading"`
	Unloading    time.Duration `json:"unloading"`
	Locating     time.Duration `json:"locating"`     // rewinds and spaces included
	Transferring time.Duration `json:"transferring"` // hollow data: as long as it took
	Flushing     time.Duration `json:"flushing"`

	// Speed is the tape's in the last transfers, in native bytes a second: the one of its
	// speeds that fits the host's rate.
	Speed int64 `json:"speed"`
	// BackHitches is how often the tape stopped and backed up because the host was too
	// slow; BackHitching the time that this took, most of which the buffer hides; Stalled
	// the time by which transfers took longer.
	BackHitches  int64         `json:"back_hitches"`
	BackHitching time.Duration `json:"back_hitching"`
	Stalled      time.Duration `json:"stalled"`
	Calibrations int64         `json:"calibrations"` // of new cartridges
	Calibrating  time.Duration `json:"calibrating"`
	Cleanings    int64         `json:"cleanings"`
	Cleaning     time.Duration `json:"cleaning"`
}

// Busy is the time the drive did anything.
func (s *DriveStats) Busy() time.Duration {
	return s.Loading + s.Unloading + s.Locating + s.Transferring + s.Flushing + s.Stalled + s.Calibrating + s.Cleaning
}

// RobotStats is what the robot did since the library was made.
type RobotStats struct {
	Moves        int64         `json:"moves"`
	Busy         time.Duration `json:"busy"` // of all arms together
	Arms         int           `json:"arms"`
	Asides       int64         `json:"asides"`        // arms that were in the way of another
	PassThroughs int64         `json:"pass_throughs"` // from one string to the next
}
