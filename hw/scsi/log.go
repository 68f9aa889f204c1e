package scsi

import (
	"context"
	"encoding/binary"
	"fmt"

	"capstan/core/scsi"
)

// Log pages.
const (
	LogSequential  = 0x0C // sequential-access device
	LogStatus      = 0x11 // data transfer device status
	LogAlertAnswer = 0x12 // TapeAlert response: reading it clears nothing
	LogVolume      = 0x17 // volume statistics
	LogAlerts      = 0x2E // TapeAlert: reading it clears the flags
)

// LogPage is what LOG SENSE answers: parameters by their code.
type LogPage map[uint16][]byte

const logHeader = 4

// ParseLog reads a log page. A parameter that is cut off at the end is left out.
func ParseLog(page byte, b []byte) (LogPage, error) {
	if len(b) < logHeader {
		return nil, short("log page", b, logHeader)
	}
	if b[0]&0x3F != page {
		return nil, fmt.Errorf("%w: log page %02Xh, %02Xh was asked for", ErrReply, b[0]&0x3F, page)
	}
	b = b[logHeader:min(len(b), logHeader+int(binary.BigEndian.Uint16(b[2:])))]
	all := LogPage{}
	for len(b) >= 4 {
		n := 4 + int(b[3])
		if n > len(b) {
			break
		}
		all[binary.BigEndian.Uint16(b)] = append([]byte(nil), b[4:n]...)
		b = b[n:]
	}
	return all, nil
}

// Number is a parameter that is a number of at most eight bytes.
func (p LogPage) Number(code uint16) (uint64, bool) {
	b, ok := p[code]
	if !ok || len(b) == 0 || len(b) > 8 {
		return 0, false
	}
	return number(b), true
}

func number(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// Log asks for a page of cumulative values.
func (d *Device) Log(ctx context.Context, page byte) (LogPage, error) {
	const op = "LOG SENSE"
	b := make([]byte, 16<<10)
	n, err := d.Ask(ctx, op, []byte{scsi.LogSense, 0, 0x40 | page, 0, 0, 0, 0, byte(len(b) >> 8), byte(len(b) & 0xFF), 0}, b)
	if err != nil {
		return nil, err
	}
	p, err := ParseLog(page, b[:n])
	if err != nil {
		return nil, d.Error(op, err)
	}
	return p, nil
}

// Alerts are the TapeAlert flags that are set, bit n-1 for flag n (SSC-5 4.2.20).
type Alerts uint64

// Has tells whether a flag is set.
func (a Alerts) Has(flag int) bool { return flag >= 1 && flag <= 64 && a>>(flag-1)&1 != 0 }

// AlertsOf reads the flags of either TapeAlert page: of the response page, in whose
// one parameter flag 1 is the first bit, or of the page that has one for each.
func AlertsOf(page byte, p LogPage) Alerts {
	var a Alerts
	if page == LogAlertAnswer {
		b := p[0]
		for i := range min(len(b), 8) {
			for bit := range 8 {
				if b[i]&(0x80>>bit) != 0 {
					a |= 1 << (i*8 + bit)
				}
			}
		}
		return a
	}
	for n := uint16(1); n <= 64; n++ {
		if b := p[n]; len(b) > 0 && b[0]&1 != 0 {
			a |= 1 << (n - 1)
		}
	}
	return a
}

// DriveState is the very high frequency data of page 11h (ADC-4 6.1.2.2).
type DriveState struct {
	Protected      bool // the medium is write protected
	CleanRequested bool
	CleanRequired  bool
	InTransition   bool
	MediumPresent  bool
	Threaded       bool
	Mounted        bool
	Activity       byte // what the drive does now; 0 is nothing
}

// DriveStateOf reads it from the log page.
func DriveStateOf(p LogPage) (DriveState, error) {
	b := p[0]
	if len(b) < 4 {
		return DriveState{}, short("very high frequency data", b, 4)
	}
	return DriveState{
		Protected: b[0]&0x08 != 0, CleanRequested: b[0]&0x04 != 0, CleanRequired: b[0]&0x02 != 0,
		InTransition: b[1]&0x80 != 0, MediumPresent: b[1]&0x10 != 0, Threaded: b[1]&0x02 != 0, Mounted: b[1]&0x01 != 0,
		Activity: b[2],
	}, nil
}

// Volume is what the volume statistics page tells (SSC-5 8.2.12). A field that the
// drive does not tell is zero.
type Volume struct {
	Mounts         uint64
	WriteRetries   uint64
	WriteErrors    uint64 // not recovered
	ReadRetries    uint64
	ReadErrors     uint64 // not recovered
	WrittenMB      uint64 // in the medium's life, 10^6 bytes
	ReadMB         uint64
	CapacityMB     uint64 // native
	UsedMB         uint64 // of the native capacity
	Serial         string
	Barcode        string
	WriteProtected bool
	WORM           bool
}

// VolumeOf reads it from the log page.
func VolumeOf(p LogPage) Volume {
	n := func(code uint16) uint64 {
		v, _ := p.Number(code)
		return v
	}
	return Volume{
		Mounts: n(0x01), WriteRetries: n(0x03), WriteErrors: n(0x04), ReadRetries: n(0x08), ReadErrors: n(0x09),
		WrittenMB: n(0x10), ReadMB: n(0x11), CapacityMB: n(0x16), UsedMB: n(0x17),
		Serial: text(p[0x40]), Barcode: text(p[0x42]), WriteProtected: n(0x80) != 0, WORM: n(0x81) != 0,
	}
}

// LogPages are the pages that the device has.
func (d *Device) LogPages(ctx context.Context) ([]byte, error) {
	const op = "LOG SENSE"
	b := make([]byte, 260)
	n, err := d.Ask(ctx, op, []byte{scsi.LogSense, 0, 0x40, 0, 0, 0, 0, byte(len(b) >> 8), byte(len(b) & 0xFF), 0}, b)
	if err != nil {
		return nil, err
	}
	if n < logHeader || b[0]&0x3F != 0 {
		return nil, d.Error(op, short("list of log pages", b[:n], logHeader))
	}
	return b[logHeader:min(n, logHeader+int(binary.BigEndian.Uint16(b[2:])))], nil
}
