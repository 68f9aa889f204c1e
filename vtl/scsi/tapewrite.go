package target

import (
	"encoding/binary"
	"errors"

	"capstan/core/dev"
	"capstan/core/scsi"
)

// mayWrite checks the medium before anything is written on it.
func (u *tape) mayWrite() error {
	m, _ := u.deck.Medium()
	if m.Protected {
		u.alert(alertWriteProtect)
		return sense(scsi.DataProtect, 0x27, 0x00)
	}
	if p := u.page(0x10, 1); p != nil && p.current[5]&0x01 == 0 {
		return nil // any position may be written
	}
	at := u.deck.Place()
	if at.Block == at.End || at.Block == 0 || at.Block == u.overwrite {
		return nil
	}
	return sense(scsi.DataProtect, 0x30, 0x0C) // only appending is allowed
}

// writeBlock writes one block as it came over the wire, and tells whether it went
// past early warning.
func (u *tape) writeBlock(r *request, p []byte) (early bool, err error) {
	if u.protectedWrites() {
		if len(p) <= guardLength || !u.guarded(p) {
			return false, sense(scsi.HardwareError, 0x10, 0x01) // logical block guard check failed
		}
		p = p[:len(p)-guardLength]
	}
	n := int64(len(p))
	key := u.crypt.writing(r.lun)
	if key != nil {
		if p, err = u.seal(key, p); err != nil {
			return false, err
		}
	}
	err = u.deck.Write(r.ctx, p, key != nil)
	if err != nil && !errors.Is(err, dev.ErrEarlyWarning) {
		return false, err
	}
	u.overwrite = u.overwriteAfter()
	u.counters.blocksWritten++
	u.counters.bytesFromHost += n
	u.counters.bytesToMedium += int64(len(p))
	return err != nil, nil
}

// overwriteAfter has ALLOW OVERWRITE hold for what follows in one go.
func (u *tape) overwriteAfter() int64 {
	if u.overwrite < 0 {
		return -1
	}
	return u.deck.Place().Block
}

// writeFailed is the end of a WRITE that left so many blocks or bytes unwritten.
func (u *tape) writeFailed(err error, left int64) error {
	var c *check
	if !errors.As(err, &c) {
		c = conditionOf(err)
	}
	switch {
	case errors.Is(err, dev.ErrWriteProtected):
		u.alert(alertWORMOverwrite)
		c = sense(scsi.DataProtect, 0x30, 0x0C) // WORM: overwrite attempted
	case c.Key == scsi.MediumError:
		c = sense(scsi.MediumError, 0x0C, 0x00)
		u.counters.writeErrors++
		u.alert(alertHardError)
		u.alert(alertWriteFailure)
	}
	c.Valid, c.Information = true, left
	return c
}

// written is the end of a command that wrote all it was to write.
func (u *tape) written(warn bool) error {
	switch {
	case warn:
		return &check{scsi.Sense{Sense: dev.Sense{ASCQ: 0x02}, EOM: true, Valid: true}}
	case u.programmable() == 0:
		return nil
	}
	m, _ := u.deck.Medium()
	if u.deck.Place().Bytes <= m.Capacity-m.Reserve-u.programmable() {
		u.warned = false
		return nil
	}
	if u.warned {
		return nil
	}
	u.warned = true
	return &check{scsi.Sense{Sense: dev.Sense{ASCQ: 0x07}}}
}

func (u *tape) filemarks6(r *request) error { return u.filemarks(r, int64(length24(r.cdb))) }

func (u *tape) filemarks16(r *request) error {
	if r.cdb[3] != 0 {
		return badField()
	}
	return u.filemarks(r, int64(length24of16(r.cdb)))
}

// filemarks writes n filemarks and, unless IMMED, makes all before durable.
func (u *tape) filemarks(r *request, n int64) error {
	if r.cdb[1]&0x02 != 0 { // setmarks
		return badField()
	}
	if err := u.mayWrite(); n > 0 && err != nil {
		return err
	}
	if n > 0 {
		if err := u.deck.WriteFilemarks(r.ctx, n); err != nil {
			return u.writeFailed(err, n)
		}
		u.counters.filemarks += n
		u.overwrite = u.overwriteAfter()
	}
	if r.cdb[1]&0x01 == 0 {
		if err := u.deck.Flush(r.ctx); err != nil {
			return u.writeFailed(err, n)
		}
	}
	m, _ := u.deck.Medium()
	return u.written(n > 0 && u.deck.Place().Bytes > m.Capacity-m.Reserve)
}

func (u *tape) erase(r *request) error {
	if err := u.mayWrite(); err != nil {
		return err
	}
	if err := u.deck.Erase(r.ctx); err != nil {
		return u.writeFailed(err, 0)
	}
	return nil
}

func (u *tape) erase16(r *request) error {
	switch {
	case r.cdb[3] != 0: // partition
		return badField()
	case r.cdb[1]&0x0C != 0: // FCS, LCS: the command says where the drive must be
		if binary.BigEndian.Uint64(r.cdb[4:]) != uint64(u.deck.Place().Block) {
			return badField()
		}
	}
	return u.erase(r)
}

// format makes the medium empty, at its beginning; one partition is all there is.
func (u *tape) format(r *request) error {
	if r.cdb[2]&0x0F > 2 || binary.BigEndian.Uint16(r.cdb[3:]) != 0 {
		return badField()
	}
	if u.deck.Place().Block != 0 {
		return sense(scsi.IllegalRequest, 0x3B, 0x0C) // position past beginning of medium
	}
	return u.erase(r)
}

// verify6 reads and gives nothing to the initiator.
func (u *tape) verify6(r *request) error {
	if r.cdb[1]&0x02 != 0 { // BYTCMP
		return badField()
	}
	n, size := length24(r.cdb), u.wire(u.blockLength)
	fixed := r.cdb[1]&0x01 != 0
	if !fixed {
		n, size = min(n, 1), n
	}
	quiet := *r
	quiet.in = u.verifyBuffer(size)
	if fixed && u.blockLength == 0 || size > u.mostBytes() {
		return badField()
	}
	for i := range n {
		_, got, err := u.readBlock(&quiet, quiet.in[:size])
		left := int64(n - i)
		if !fixed {
			left = int64(size)
		}
		if err != nil {
			return u.readFailed(err, left)
		}
		if got != size {
			if !fixed {
				left -= int64(got)
			}
			return &check{scsi.Sense{ILI: true, Valid: true, Information: left}}
		}
	}
	return nil
}

func (u *tape) verifyBuffer(n int) []byte { return make([]byte, min(n, u.mostBytes())) }

// residue is the end of a command that was struck by a fault of the device: what
// it says is left is all or nothing.
func residue(r *request, c *command, f *dev.Fault) error {
	e := conditionOf(f.Err)
	if c.op != scsi.Read6 && c.op != scsi.Read16 && c.op != scsi.Write6 && c.op != scsi.Write16 {
		return e
	}
	e.Valid = e.Key != scsi.UnitAttention && e.Key != scsi.IllegalRequest
	if e.Valid && !f.Done {
		e.Information = int64(length24(r.cdb))
		if len(r.cdb) == 16 {
			e.Information = int64(length24of16(r.cdb))
		}
	}
	return e
}
