package scsi

import (
	"errors"

	"capstan/core/dev"
)

// any stands for every additional sense code or qualifier in the table below.
const anyCode = -1

// meaning is what a sense key with its codes says to the roles.
type meaning struct {
	key       uint8
	asc, ascq int
	err       error
}

// meanings are tried in order; the first that fits holds. A condition's own sense,
// which a target sends, is its first row whose codes are all given.
func meanings() []meaning {
	return []meaning{
		{NotReady, 0x3A, 0x00, dev.ErrNoMedium},
		{NotReady, 0x3A, anyCode, dev.ErrNoMedium},
		{NotReady, 0x04, 0x01, dev.ErrNotReady}, // becoming ready
		{NotReady, 0x04, 0x02, dev.ErrNotLoaded},
		{NotReady, 0x04, 0x03, dev.ErrOperator},
		{NotReady, 0x04, 0x12, dev.ErrOperator}, // offline
		{NotReady, 0x30, 0x03, dev.ErrCleaningCartridge},
		{NotReady, 0x30, 0x07, dev.ErrCleaningCartridge},
		{NotReady, 0x53, anyCode, dev.ErrHardware}, // load failed
		{NotReady, anyCode, anyCode, dev.ErrNotReady},

		{MediumError, 0x30, 0x00, dev.ErrIncompatible},
		{MediumError, 0x30, 0x03, dev.ErrCleaningCartridge},
		{MediumError, 0x30, 0x07, dev.ErrCleaningCartridge},
		{MediumError, 0x30, anyCode, dev.ErrIncompatible},
		{MediumError, 0x11, 0x00, dev.ErrMedium},
		{MediumError, anyCode, anyCode, dev.ErrMedium},

		{HardwareError, 0x10, 0x01, dev.ErrProtection}, // logical block guard check failed
		{HardwareError, 0x3B, 0x0D, dev.ErrDestinationFull},
		{HardwareError, 0x3B, 0x0E, dev.ErrSourceEmpty},
		{HardwareError, 0x44, 0x00, dev.ErrHardware},
		{HardwareError, anyCode, anyCode, dev.ErrHardware},

		{IllegalRequest, 0x30, 0x05, dev.ErrIncompatible},
		{IllegalRequest, 0x3B, 0x0E, dev.ErrSourceEmpty},
		{IllegalRequest, 0x3B, 0x0D, dev.ErrDestinationFull},
		{IllegalRequest, 0x21, 0x01, dev.ErrBadElement},
		{IllegalRequest, 0x53, 0x02, dev.ErrRemovalPrevented},
		{IllegalRequest, 0x53, anyCode, dev.ErrRemovalPrevented},
		{IllegalRequest, 0x20, 0x00, dev.ErrNotSupported},
		{IllegalRequest, 0x24, 0x00, dev.ErrNotSupported},
		{IllegalRequest, anyCode, anyCode, dev.ErrNotSupported},

		{UnitAttention, 0x28, 0x00, dev.ErrMediumChanged},
		{UnitAttention, 0x28, 0x01, dev.ErrInventoryChanged},
		{UnitAttention, 0x3B, 0x12, dev.ErrInventoryChanged},
		{UnitAttention, 0x3B, 0x13, dev.ErrInventoryChanged},
		{UnitAttention, 0x2A, 0x03, dev.ErrReservation}, // reservations preempted
		{UnitAttention, 0x2A, 0x04, dev.ErrReservation}, // reservations released
		{UnitAttention, 0x2A, 0x05, dev.ErrReservation}, // registrations preempted
		{UnitAttention, 0x2A, 0x11, dev.ErrEncryption},
		{UnitAttention, 0x2A, 0x12, dev.ErrEncryption},
		{UnitAttention, 0x2A, anyCode, dev.ErrAttention}, // parameters changed
		{UnitAttention, 0x29, 0x00, dev.ErrPositionLost},
		{UnitAttention, 0x29, anyCode, dev.ErrPositionLost},
		{UnitAttention, anyCode, anyCode, dev.ErrAttention},

		{DataProtect, 0x27, 0x00, dev.ErrWriteProtected},
		{DataProtect, 0x74, 0x00, dev.ErrEncryption},
		{DataProtect, 0x74, anyCode, dev.ErrEncryption},
		{DataProtect, 0x26, 0x10, dev.ErrEncryption},
		{DataProtect, 0x2A, 0x13, dev.ErrEncryption},
		{DataProtect, anyCode, anyCode, dev.ErrWriteProtected},

		{BlankCheck, 0x00, 0x05, dev.ErrEndOfData},
		{BlankCheck, 0x14, anyCode, dev.ErrMedium}, // no end of data where one must be
		{BlankCheck, anyCode, anyCode, dev.ErrEndOfData},

		{AbortedCommand, 0x00, 0x00, dev.ErrAborted},
		{AbortedCommand, anyCode, anyCode, dev.ErrAborted},
		{VolumeOverflow, 0x00, 0x02, dev.ErrVolumeOverflow},
		{VolumeOverflow, anyCode, anyCode, dev.ErrVolumeOverflow},
	}
}

// Condition is what sense data says to the roles: a condition of package dev, nil
// when the command was done and there is nothing to tell. A block of another length
// than asked for is for the reader to judge: it is nil here, with ILI set.
func (s *Sense) Condition() error {
	if s.Key == NoSense || s.Key == RecoveredError {
		return s.quiet()
	}
	for _, m := range meanings() {
		if m.key == s.Key && (m.asc == anyCode || m.asc == int(s.ASC)) && (m.ascq == anyCode || m.ascq == int(s.ASCQ)) {
			return m.err
		}
	}
	return dev.ErrHardware
}

// quiet is what sense data of a command that was done says.
func (s *Sense) quiet() error {
	switch {
	case s.Filemark:
		return dev.ErrFilemark
	case s.EOM && s.ASC == 0 && s.ASCQ == 4:
		return dev.ErrBeginning
	case s.EOM:
		return dev.ErrEarlyWarning
	case s.ASC == 0x00 && s.ASCQ == 0x17, s.ASC == 0x82 && s.ASCQ == 0x82: // the second is IBM's
		return dev.ErrCleaning
	case s.ASC == 0x00 && s.ASCQ == 0x07:
		return dev.ErrProgrammableWarning
	}
	return nil
}

// SenseOf is the sense data with which a target reports a condition; false if the
// condition is none of package dev or is not told by sense data.
func SenseOf(err error) (Sense, bool) {
	var e *dev.Error
	if errors.As(err, &e) && e.Sense != (dev.Sense{}) {
		s := Sense{Sense: e.Sense}
		s.EOM = errors.Is(err, dev.ErrVolumeOverflow)
		return s, true
	}
	quiet := []struct {
		err error
		s   Sense
	}{
		{dev.ErrFilemark, Sense{Sense: dev.Sense{ASCQ: 0x01}, Filemark: true}},
		{dev.ErrEarlyWarning, Sense{Sense: dev.Sense{ASCQ: 0x02}, EOM: true}},
		{dev.ErrBeginning, Sense{Sense: dev.Sense{ASCQ: 0x04}, EOM: true}},
		{dev.ErrProgrammableWarning, Sense{Sense: dev.Sense{ASCQ: 0x07}}},
		{dev.ErrCleaning, Sense{Sense: dev.Sense{ASCQ: 0x17}}},
		{dev.ErrBlockTooLong, Sense{ILI: true}},
	}
	for _, q := range quiet {
		if errors.Is(err, q.err) {
			return q.s, true
		}
	}
	for _, m := range meanings() {
		if m.asc != anyCode && m.ascq != anyCode && errors.Is(err, m.err) {
			return Sense{Sense: dev.Sense{Key: m.key, ASC: uint8(m.asc), ASCQ: uint8(m.ascq)}, EOM: m.key == VolumeOverflow}, true
		}
	}
	return Sense{}, false
}
