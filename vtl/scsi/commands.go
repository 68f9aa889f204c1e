package target

import (
	"encoding/binary"
	"time"

	"capstan/core/scsi"
)

// rule is what a reservation that another initiator holds means to a command
// (SPC-5 table 13, SSC-5 table 16, SMC-3 table 11).
type rule uint8

const (
	free    rule = iota // allowed always
	reading             // refused if the access is exclusive
	writing             // refused by every reservation
)

// noAction marks a command without service actions.
const noAction = -1

// command is one entry of a unit's table.
type command struct {
	op      uint8
	action  int // the service action, or noAction
	name    string
	timeout time.Duration // how long it may take; 0 is not told
	rule    rule
	run     func(r *request) error
	exempt  bool   // a unit attention does not keep it from being done
	medium  bool   // it needs a medium that is ready
	fault   string // the operation of [dev.Fault] that strikes it
}

// register enters commands in the unit's table.
func (s *server) register(commands ...command) {
	for i := range commands {
		c := &commands[i]
		s.commands[c.op] = append(s.commands[c.op], c)
	}
}

// cdbLength is how long a CDB is, by the group of its operation code.
func cdbLength(op uint8) int {
	switch op >> 5 {
	case 0:
		return 6
	case 1, 2:
		return 10
	case 4:
		return 16
	case 5:
		return 12
	}
	return 6
}

// common are the commands that every unit has.
func (s *server) common() []command {
	second := 60 * time.Second
	return []command{
		{scsi.TestUnitReady, noAction, "TEST UNIT READY", second, reading, s.testUnitReady, false, false, "TEST UNIT READY"},
		{scsi.RequestSense, noAction, "REQUEST SENSE", second, free, s.requestSense, true, false, ""},
		{scsi.Inquiry, noAction, "INQUIRY", second, free, s.inquiry, true, false, ""},
		{scsi.ModeSelect6, noAction, "MODE SELECT(6)", second, writing, s.modeSelect6, false, false, ""},
		{scsi.ModeSelect10, noAction, "MODE SELECT(10)", second, writing, s.modeSelect10, false, false, ""},
		{scsi.ModeSense6, noAction, "MODE SENSE(6)", second, reading, s.modeSense6, false, false, ""},
		{scsi.ModeSense10, noAction, "MODE SENSE(10)", second, reading, s.modeSense10, false, false, ""},
		{scsi.Reserve6, noAction, "RESERVE(6)", second, writing, s.reserve, false, false, "RESERVE"},
		{scsi.Release6, noAction, "RELEASE(6)", second, free, s.release, false, false, ""},
		{scsi.Reserve10, noAction, "RESERVE(10)", second, writing, s.reserve, false, false, "RESERVE"},
		{scsi.Release10, noAction, "RELEASE(10)", second, free, s.release, false, false, ""},
		{scsi.PersistentReserveIn, 0, "READ KEYS", second, free, s.readKeys, false, false, ""},
		{scsi.PersistentReserveIn, 1, "READ RESERVATION", second, free, s.readReservation, false, false, ""},
		{scsi.PersistentReserveIn, 2, "REPORT CAPABILITIES", second, free, s.reportCapabilities, false, false, ""},
		{scsi.PersistentReserveIn, 3, "READ FULL STATUS", second, free, s.readFullStatus, false, false, ""},
		{scsi.PersistentReserveOut, 0, "REGISTER", second, free, s.prOut, false, false, ""},
		{scsi.PersistentReserveOut, 1, "RESERVE", second, free, s.prOut, false, false, ""},
		{scsi.PersistentReserveOut, 2, "RELEASE", second, free, s.prOut, false, false, ""},
		{scsi.PersistentReserveOut, 3, "CLEAR", second, free, s.prOut, false, false, ""},
		{scsi.PersistentReserveOut, 4, "PREEMPT", second, free, s.prOut, false, false, ""},
		{scsi.PersistentReserveOut, 5, "PREEMPT AND ABORT", second, free, s.prOut, false, false, ""},
		{scsi.PersistentReserveOut, 6, "REGISTER AND IGNORE EXISTING KEY", second, free, s.prOut, false, false, ""},
		{scsi.ReportLUNs, noAction, "REPORT LUNS", second, free, s.reportLUNs, true, false, ""},
		{scsi.SendDiagnostic, noAction, "SEND DIAGNOSTIC", 30 * time.Minute, writing, s.sendDiagnostic, false, false, ""},
		{scsi.PreventAllowRemoval, noAction, "PREVENT ALLOW MEDIUM REMOVAL", second, writing, s.preventAllow, false, false, ""},
		{scsi.LogSense, noAction, "LOG SENSE", second, reading, s.logSense, false, false, ""},
		{scsi.LogSelect, noAction, "LOG SELECT", second, writing, s.logSelect, false, false, ""},
		{scsi.MaintenanceIn, 0x0C, "REPORT SUPPORTED OPERATION CODES", second, free, s.reportOpcodes, false, false, ""},
		{scsi.MaintenanceIn, 0x0D, "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", second, free, s.reportTaskManagement, false, false, ""},
		{scsi.MaintenanceIn, 0x0F, "REPORT TIMESTAMP", second, free, s.reportTimestamp, false, false, ""},
		{scsi.MaintenanceOut, 0x0F, "SET TIMESTAMP", second, writing, s.setTimestamp, false, false, ""},
	}
}

// reportOpcodes answers REPORT SUPPORTED OPERATION CODES (SPC-5, 6.35).
func (s *server) reportOpcodes(r *request) error {
	timeouts := r.cdb[2]&0x80 != 0
	alloc := int(min(binary.BigEndian.Uint32(r.cdb[6:]), 1<<20))
	op, action := r.cdb[3], int(binary.BigEndian.Uint16(r.cdb[4:]))
	option := r.cdb[2] & 0x07
	if option == 0 {
		return r.reply(s.allOpcodes(timeouts), alloc)
	}
	if option > 3 {
		return badField()
	}
	var found *command
	for _, c := range s.commands[op] {
		switch {
		case option == 1 && c.action != noAction, option == 2 && c.action == noAction:
			return badField()
		case c.action == noAction || c.action == action:
			found = c
		}
	}
	if found == nil {
		return r.reply([]byte{0, 1, 0, 0}, alloc) // not supported
	}
	return r.reply(found.describe(timeouts), alloc)
}

// describe is the one_command parameter data.
func (c *command) describe(timeouts bool) []byte {
	n := cdbLength(c.op)
	b := []byte{0, 3, 0, byte(n)}
	usage := make([]byte, n)
	for i := range usage[:n-1] {
		usage[i] = 0xFF // which bits are looked at is not told apart
	}
	usage[0] = c.op
	if c.action != noAction {
		usage[1] = byte(c.action)
	}
	b = append(b, usage...)
	if timeouts {
		b[1] |= 0x80
		b = c.appendTimeouts(b)
	}
	return b
}

// appendTimeouts adds the command timeouts descriptor, in seconds.
func (c *command) appendTimeouts(b []byte) []byte {
	b = append(b, 0, 10, 0, 0)
	b = binary.BigEndian.AppendUint32(b, 0) // nominal: not told
	return binary.BigEndian.AppendUint32(b, uint32(c.timeout/time.Second))
}

func (s *server) allOpcodes(timeouts bool) []byte {
	b := make([]byte, 4)
	for op := range s.commands {
		for _, c := range s.commands[op] {
			d := []byte{c.op, 0, 0, 0, 0, 0, 0, byte(cdbLength(c.op))}
			if c.action != noAction {
				binary.BigEndian.PutUint16(d[2:], uint16(c.action))
				d[5] |= 0x01
			}
			if timeouts {
				d[5] |= 0x02
				d = c.appendTimeouts(d)
			}
			b = append(b, d...)
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func (s *server) reportTaskManagement(r *request) error {
	// ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET; I_T NEXUS RESET
	b := []byte{0xD8, 0x01, 0, 0x0C, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	n := 4
	if r.cdb[2]&0x80 != 0 {
		n = len(b)
	}
	return r.reply(b[:n], int(min(binary.BigEndian.Uint32(r.cdb[6:]), 1<<20)))
}
