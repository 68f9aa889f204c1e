package scsi

import (
	"context"
	"encoding/binary"
	"time"

	"capstan/core/scsi"
)

// Density is a recording format (SSC-5 7.9).
type Density struct {
	Code     byte
	Writable bool
	Default  bool
	Name     string // "U-918" and the like
	Words    string // "Ultrium 9/24T"
	Capacity uint64 // MB, 10^6 bytes
}

const densityBytes = 52

// ParseDensities reads the answer to REPORT DENSITY SUPPORT.
func ParseDensities(b []byte) ([]Density, error) {
	if len(b) < 4 {
		return nil, short("densities", b, 4)
	}
	b = b[4:max(4, min(len(b), 2+int(binary.BigEndian.Uint16(b))))]
	var all []Density
	for len(b) >= densityBytes {
		n := densityBytes
		if b[2]&0x01 != 0 { // the descriptor's length is told
			n = max(n, 5+int(binary.BigEndian.Uint16(b[3:])))
		}
		all = append(all, Density{
			Code: b[0], Writable: b[2]&0x80 != 0, Default: b[2]&0x20 != 0,
			Capacity: uint64(binary.BigEndian.Uint32(b[12:])), Name: text(b[24:32]), Words: text(b[32:52]),
		})
		b = b[min(n, len(b)):]
	}
	return all, nil
}

// Densities asks which formats the drive has; with medium, which the loaded medium has.
func (d *Device) Densities(ctx context.Context, medium bool) ([]Density, error) {
	const op = "REPORT DENSITY SUPPORT"
	b := make([]byte, 4<<10)
	cdb := []byte{scsi.ReportDensitySupport, 0, 0, 0, 0, 0, 0, byte(len(b) >> 8), byte(len(b) & 0xFF), 0}
	if medium {
		cdb[1] = 1
	}
	n, err := d.Ask(ctx, op, cdb, b)
	if err != nil {
		return nil, err
	}
	if n < 4 {
		return nil, d.Error(op, short("densities", b[:n], 4))
	}
	all, err := ParseDensities(b[:n])
	if err != nil {
		return nil, d.Error(op, err)
	}
	return all, nil
}

// Opcode is a command that a device has (SPC-5 6.34).
type Opcode struct {
	Code    byte
	Action  uint16 // service action, if it has any
	Actions bool
	// Nominal and Recommended are the device's time limits; zero if it tells none.
	Nominal, Recommended time.Duration
}

// ParseOpcodes reads the answer to REPORT SUPPORTED OPERATION CODES for all commands.
func ParseOpcodes(b []byte) ([]Opcode, error) {
	if len(b) < 4 {
		return nil, short("operation codes", b, 4)
	}
	n := int64(binary.BigEndian.Uint32(b))
	b = b[4:min(int64(len(b)), 4+n)]
	var all []Opcode
	for len(b) >= 8 {
		o := Opcode{Code: b[0], Action: binary.BigEndian.Uint16(b[2:]), Actions: b[5]&0x01 != 0}
		timed := b[5]&0x02 != 0
		b = b[8:]
		if timed && len(b) >= 2 {
			n := min(len(b), 2+int(binary.BigEndian.Uint16(b)))
			if n >= 12 {
				o.Nominal = seconds(b[4:])
				o.Recommended = seconds(b[8:])
			}
			b = b[n:]
		}
		all = append(all, o)
	}
	return all, nil
}

func seconds(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Second
}

// Opcodes asks which commands the device has, and takes its time limits for its own.
// The answer of a device that does not know the question is an error.
func (d *Device) Opcodes(ctx context.Context) ([]Opcode, error) {
	const op = "REPORT SUPPORTED OPERATION CODES"
	b := make([]byte, 16<<10)
	cdb := make([]byte, 12)
	cdb[0], cdb[1], cdb[2] = scsi.MaintenanceIn, 0x0C, 0x80 // with time limits
	binary.BigEndian.PutUint32(cdb[6:], uint32(len(b)))
	n, err := d.Ask(ctx, op, cdb, b)
	if err != nil {
		return nil, err
	}
	all, err := ParseOpcodes(b[:n])
	if err != nil {
		return nil, d.Error(op, err)
	}
	d.limits.learn(all)
	return all, nil
}

// learn takes a device's time limits. They bound how long it may take, so a limit
// below the usual of a short command is none.
func (l *limits) learn(all []Opcode) {
	l.told = map[uint16]time.Duration{}
	for _, o := range all {
		if t := max(o.Recommended, o.Nominal); t >= shortTime {
			l.told[opcodeKey(o.Code, byte(o.Action))] = t
		}
	}
}
