package scsi

import (
	"context"
	"fmt"
	"time"
)

// Command is one command for a logical unit.
type Command struct {
	CDB []byte // the command descriptor block: 6, 10, 12 or 16 bytes
	Out []byte // data-out: what goes to the device
	In  []byte // data-in: where to put what comes from it
	// Timeout is how long the device may take before the command counts as lost;
	// 0 is the transport's own limit.
	Timeout time.Duration
}

// Result is how a command ended.
type Result struct {
	Status Status
	// N is the number of bytes that came into In or were taken of Out, as the
	// transport counts them. Sense data's INFORMATION is the better witness.
	N     int
	Sense []byte // as the device sent it; nil unless Status is [CheckCondition]
}

// Transport carries commands to one logical unit. A command's error means that it
// is unknown whether the device has carried it out (it wraps dev.ErrGone); what the
// device itself says is in the Result. One command at a time.
type Transport interface {
	Do(ctx context.Context, c *Command) (Result, error)
	Close() error
}

// Status is the status byte of a command (SAM-5, 5.3).
type Status uint8

// The status codes.
const (
	Good                Status = 0x00
	CheckCondition      Status = 0x02
	ConditionMet        Status = 0x04
	Busy                Status = 0x08
	ReservationConflict Status = 0x18
	TaskSetFull         Status = 0x28
	ACAActive           Status = 0x30
	TaskAborted         Status = 0x40
)

func (s Status) String() string {
	switch s {
	case Good:
		return "GOOD"
	case CheckCondition:
		return "CHECK CONDITION"
	case ConditionMet:
		return "CONDITION MET"
	case Busy:
		return "BUSY"
	case ReservationConflict:
		return "RESERVATION CONFLICT"
	case TaskSetFull:
		return "TASK SET FULL"
	case ACAActive:
		return "ACA ACTIVE"
	case TaskAborted:
		return "TASK ABORTED"
	}
	return fmt.Sprintf("status %02Xh", uint8(s))
}

// DeviceType is the peripheral device type that INQUIRY tells.
type DeviceType uint8

// The device types of a tape library.
const (
	Sequential DeviceType = 0x01 // a tape drive
	Changer    DeviceType = 0x08 // a medium changer
	NoDevice   DeviceType = 0x1F
)

// Operation codes (SPC-5, SSC-5 table 14, SMC-3 table 6).
const (
	TestUnitReady           = 0x00
	Rewind                  = 0x01
	RequestSense            = 0x03
	FormatMedium            = 0x04
	ReadBlockLimits         = 0x05
	InitializeElementStatus = 0x07
	Read6                   = 0x08
	Write6                  = 0x0A
	SetCapacity             = 0x0B
	ReadReverse6            = 0x0F
	WriteFilemarks6         = 0x10
	Space6                  = 0x11
	Inquiry                 = 0x12
	Verify6                 = 0x13
	RecoverBufferedData     = 0x14
	ModeSelect6             = 0x15
	Reserve6                = 0x16
	Release6                = 0x17
	Erase6                  = 0x19
	ModeSense6              = 0x1A
	LoadUnload              = 0x1B // a changer: OPEN/CLOSE IMPORT/EXPORT ELEMENT
	ReceiveDiagnostic       = 0x1C
	SendDiagnostic          = 0x1D
	PreventAllowRemoval     = 0x1E
	Locate10                = 0x2B // a changer: POSITION TO ELEMENT
	ReadPosition            = 0x34
	InitializeElementRange  = 0x37
	WriteBuffer             = 0x3B
	ReadBuffer              = 0x3C
	ReportDensitySupport    = 0x44
	LogSelect               = 0x4C
	LogSense                = 0x4D
	ModeSelect10            = 0x55
	Reserve10               = 0x56
	Release10               = 0x57
	ModeSense10             = 0x5A
	PersistentReserveIn     = 0x5E
	PersistentReserveOut    = 0x5F
	AllowOverwrite          = 0x82
	WriteFilemarks16        = 0x80
	Read16                  = 0x88
	Write16                 = 0x8A
	ReadAttribute           = 0x8C
	WriteAttribute          = 0x8D
	Space16                 = 0x91
	Locate16                = 0x92
	Erase16                 = 0x93
	ReportLUNs              = 0xA0
	SecurityProtocolIn      = 0xA2
	MaintenanceIn           = 0xA3 // REPORT SUPPORTED OPERATION CODES, REPORT TIMESTAMP; RECEIVE RECOMMENDED ACCESS ORDER
	MaintenanceOut          = 0xA4 // SET TIMESTAMP; GENERATE RECOMMENDED ACCESS ORDER
	MoveMedium              = 0xA5
	ExchangeMedium          = 0xA6
	SecurityProtocolOut     = 0xB5 // a changer: REQUEST VOLUME ELEMENT ADDRESS
	SendVolumeTag           = 0xB6
	ReadElementStatus       = 0xB8
)
