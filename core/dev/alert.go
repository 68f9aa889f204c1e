package dev

import (
	"context"
	"fmt"
)

// Alert is a TapeAlert flag, 1 to 64 (SSC-5 table 13).
type Alert uint8

// Severity is how bad a flag is.
type Severity uint8

// The severities.
const (
	Information Severity = iota
	Warning
	Critical
)

// Alerts that a role acts on.
const (
	AlertCleanNow      Alert = 0x14
	AlertCleanPeriodic Alert = 0x15
)

// alerts are the flags that say something to a person, with what to do.
var alerts = map[Alert]struct {
	severity Severity
	text     string
}{
	0x01: {Warning, "the drive has trouble reading: no data is lost, but make a copy of this cartridge"},
	0x02: {Warning, "the drive has trouble writing: no data is lost, but make a copy of this cartridge"},
	0x03: {Warning, "a read or a write failed for good: make a copy of this cartridge"},
	0x04: {Critical, "the cartridge cannot be read or written further: take it out of use"},
	0x05: {Critical, "the cartridge is damaged or the drive is faulty: reading has stopped"},
	0x06: {Critical, "the cartridge is from a faulty batch or the drive is faulty: writing has stopped"},
	0x07: {Warning, "the cartridge has reached the end of its life: copy it and take it out of use"},
	0x08: {Warning, "the cartridge is not of a quality for data"},
	0x09: {Critical, "the cartridge is write protected, and was to be written"},
	0x0A: {Information, "the cartridge cannot be ejected: the drive is in use"},
	0x0B: {Information, "the cartridge is a cleaning cartridge"},
	0x0C: {Information, "the cartridge has a format that the drive does not have"},
	0x0D: {Critical, "the tape has snapped, and the cartridge can be taken out"},
	0x0E: {Critical, "the tape has snapped or was cut in the drive: do not take it out, call for service"},
	0x0F: {Warning, "the memory in the cartridge has failed: do not write to this cartridge"},
	0x10: {Critical, "the cartridge was taken out by hand while the drive used it"},
	0x11: {Warning, "the cartridge can be read only in this drive"},
	0x12: {Warning, "the directory on the tape is damaged: locating is slow until all of it was read once"},
	0x13: {Information, "the cartridge nears the end of its life"},
	0x14: {Critical, "the drive must be cleaned now"},
	0x15: {Warning, "the drive is due for its routine cleaning"},
	0x16: {Critical, "the cleaning cartridge is used up: throw it away"},
	0x17: {Critical, "the cleaning cartridge is not one that this drive takes"},
	0x1E: {Critical, "the drive has a hardware fault: eject, reset it, and call for service if it stays"},
	0x1F: {Critical, "the drive has a hardware fault that it found by itself: call for service"},
	0x20: {Warning, "the interface between host and drive has a fault: look at cables"},
	0x21: {Critical, "the operation failed: eject the cartridge and put it in again"},
	0x22: {Warning, "the firmware could not be loaded"},
	0x26: {Warning, "a failure of the drive is predicted: call for service"},
	0x31: {Warning, "the cartridge holds less than it should"},
	0x33: {Warning, "the directory on the tape could not be written at the last unload: locating is slow"},
	0x34: {Critical, "the system area of the cartridge could not be written at the last unload: copy it"},
	0x35: {Critical, "the system area of the cartridge cannot be read: copy it"},
	0x36: {Critical, "the start of data is not found: the cartridge was damaged or degaussed"},
	0x37: {Critical, "the cartridge cannot be loaded: eject it and try again"},
	0x38: {Critical, "the cartridge cannot be unloaded: call for service"},
	0x39: {Critical, "the automation's interface has failed"},
	0x3B: {Warning, "the write-once cartridge has failed an integrity check: its data may have been tampered with"},
	0x3C: {Warning, "the write-once cartridge was to be overwritten"},
	0x3D: {Warning, "the encryption policy was broken"},
}

// Severity is how bad the flag is.
func (a Alert) Severity() Severity { return alerts[a].severity }

func (a Alert) String() string {
	if t := alerts[a].text; t != "" {
		return fmt.Sprintf("TapeAlert %02Xh: %s", uint8(a), t)
	}
	return fmt.Sprintf("TapeAlert %02Xh", uint8(a))
}

// TapeAlerter is a drive that tells its TapeAlert flags. They may be gone once told:
// who asks passes them all on.
type TapeAlerter interface {
	TapeAlerts(ctx context.Context) ([]Alert, error)
}

// Extent is a range of logical objects on a medium.
type Extent struct{ First, Last int64 }

// Sorter is a drive that knows in which order extents of its medium are read with the
// least winding (recommended access order). The answer are indices of the extents.
type Sorter interface {
	Sort(ctx context.Context, extents []Extent) ([]int, error)
}

// Labeller is a drive whose media have a memory that tells what they are, without
// moving the tape.
type Labeller interface {
	// WriteMemory notes whose medium it is and what it is called.
	WriteMemory(ctx context.Context, application, label string) error
	// ReadMemory reads the notes: "" where there are none.
	ReadMemory(ctx context.Context) (application, label string, err error)
}
