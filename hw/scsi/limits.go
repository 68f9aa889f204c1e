package scsi

import (
	"time"

	"capstan/core/scsi"
)

// limits are how long commands may take. A device's own word is better than the table.
type limits struct {
	told map[uint16]time.Duration // by operation code and service action
}

// shortTime is for commands that move nothing.
const shortTime = time.Minute

// table is by operation code, in the words of what IBM's LTO-9 drives tell by REPORT
// SUPPORTED OPERATION CODES, the slowest there are; a changer's are those that large
// libraries need.
var table = map[byte]time.Duration{
	scsi.Rewind:              600 * time.Second,
	scsi.Read6:               2340 * time.Second,
	scsi.Read16:              2340 * time.Second,
	scsi.Write6:              1500 * time.Second,
	scsi.Write16:             1500 * time.Second,
	scsi.WriteFilemarks6:     1620 * time.Second,
	scsi.WriteFilemarks16:    1620 * time.Second,
	scsi.Space6:              2940 * time.Second,
	scsi.Space16:             2940 * time.Second,
	scsi.Locate10:            2940 * time.Second,
	scsi.Locate16:            2940 * time.Second,
	scsi.LoadUnload:          960 * time.Second,
	scsi.FormatMedium:        3 * time.Hour,
	scsi.Erase6:              74341 * time.Second,
	scsi.Erase16:             74341 * time.Second,
	scsi.Verify6:             63300 * time.Second,
	scsi.SetCapacity:         960 * time.Second,
	scsi.SecurityProtocolIn:  2 * time.Minute,
	scsi.SecurityProtocolOut: 2 * time.Minute,
	scsi.MaintenanceIn:       10 * time.Minute,
	scsi.MaintenanceOut:      10 * time.Minute, // the drive sorts what it was given
	scsi.ReadAttribute:       5 * time.Minute,
	scsi.WriteAttribute:      5 * time.Minute,

	scsi.InitializeElementStatus: 30 * time.Minute,
	scsi.InitializeElementRange:  30 * time.Minute,
	scsi.ReadElementStatus:       10 * time.Minute,
	scsi.MoveMedium:              10 * time.Minute,
	scsi.ExchangeMedium:          10 * time.Minute,
}

// of is the time limit of a command.
func (l *limits) of(cdb []byte) time.Duration {
	if len(cdb) == 0 {
		return shortTime
	}
	if t, ok := l.told[opcodeKey(cdb[0], serviceAction(cdb))]; ok {
		return t
	}
	if t, ok := table[cdb[0]]; ok {
		return t
	}
	return shortTime
}

func opcodeKey(op, action byte) uint16 { return uint16(op)<<8 | uint16(action) }

// serviceAction is the service action of a command whose operation code has several.
func serviceAction(cdb []byte) byte {
	if len(cdb) < 2 {
		return 0
	}
	switch cdb[0] {
	case scsi.MaintenanceIn, scsi.MaintenanceOut, scsi.PersistentReserveIn, scsi.PersistentReserveOut, scsi.ReadAttribute, scsi.ReadPosition:
		return cdb[1] & 0x1F
	}
	return 0
}
