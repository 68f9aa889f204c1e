package target

import (
	"context"
	"encoding/binary"
	"math"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/vtl"
)

func (u *tape) rewind(r *request) error {
	u.warned = false
	return u.perhapsLater(r, u.deck.Rewind)
}

// stopped is the end of a SPACE or LOCATE that met something: how many were left.
func stopped(met vtl.ObjectKind, left int64) error {
	c := &check{scsi.Sense{Information: left, Valid: true}}
	switch met {
	case vtl.Filemark:
		c.ASCQ, c.Filemark = 0x01, true
	case vtl.EndOfData:
		c.Key, c.ASCQ = scsi.BlankCheck, 0x05
	case vtl.Beginning:
		c.ASCQ, c.EOM = 0x04, true
	}
	return c
}

func (u *tape) space6(r *request) error {
	n := int64(int32(uint32(r.cdb[2])<<24|uint32(r.cdb[3])<<16|uint32(r.cdb[4])<<8) >> 8)
	return u.space(r, r.cdb[1]&0x0F, n)
}

func (u *tape) space16(r *request) error {
	return u.space(r, r.cdb[1]&0x0F, int64(binary.BigEndian.Uint64(r.cdb[4:])))
}

func (u *tape) space(r *request, code byte, n int64) error {
	n = max(n, -math.MaxInt64)
	want, back := n, vtl.EndOfData
	if n < 0 {
		want, back = -n, vtl.Beginning
	}
	switch code {
	case 0:
		passed, met, err := u.deck.SpaceBlocks(r.ctx, n)
		if err != nil || met == vtl.Block {
			return err
		}
		return stopped(met, want-passed)
	case 1:
		passed, err := u.deck.SpaceFilemarks(r.ctx, n)
		if err != nil || passed == want {
			return err
		}
		return stopped(back, want-passed)
	case 3:
		return u.deck.Locate(r.ctx, math.MaxInt64)
	}
	return badField()
}

func (u *tape) locate10(r *request) error {
	if r.cdb[1]&0x02 != 0 && r.cdb[8] != 0 { // CP: another partition
		return badField()
	}
	return u.locate(r, int64(binary.BigEndian.Uint32(r.cdb[3:])))
}

func (u *tape) locate16(r *request) error {
	if r.cdb[1]&0x02 != 0 && r.cdb[3] != 0 {
		return badField()
	}
	id := int64(min(binary.BigEndian.Uint64(r.cdb[4:]), math.MaxInt64))
	switch r.cdb[1] >> 3 & 0x07 {
	case 0:
		return u.locate(r, id)
	case 1:
		at, ok := u.deck.FileStart(id)
		if !ok {
			at = math.MaxInt64
		}
		return u.locate(r, at)
	case 3:
		return u.deck.Locate(r.ctx, math.MaxInt64)
	}
	return badField()
}

func (u *tape) locate(r *request, block int64) error {
	if err := u.deck.Locate(r.ctx, block); err != nil {
		return err
	}
	if block > u.deck.Place().End {
		return sense(scsi.BlankCheck, 0x00, 0x05)
	}
	return nil
}

// readPosition answers the short, the long and the extended form.
func (u *tape) readPosition(r *request) error {
	u.deck.Known()
	p, _ := u.deck.Medium()
	at := u.deck.Place()
	var flags byte
	if at.Block == 0 {
		flags |= 0x80
	}
	if at.Bytes > p.Capacity-p.Reserve {
		flags |= 0x40
	}
	if at.Bytes > p.Capacity-p.Reserve-u.programmable() {
		flags |= 0x01
	}
	alloc := int(binary.BigEndian.Uint16(r.cdb[7:]))
	switch r.cdb[1] & 0x1F {
	case 0x00, 0x01: // short
		b := make([]byte, 20)
		b[0] = flags
		if at.Block > math.MaxUint32 {
			b[0] |= 0x02 // position error: the number does not fit
		} else {
			binary.BigEndian.PutUint32(b[4:], uint32(at.Block))
			binary.BigEndian.PutUint32(b[8:], uint32(at.Block))
		}
		return r.reply(b, len(b))
	case 0x06: // long
		b := make([]byte, 32)
		b[0] = flags
		binary.BigEndian.PutUint64(b[8:], uint64(at.Block))
		binary.BigEndian.PutUint64(b[16:], uint64(at.File))
		return r.reply(b, len(b))
	case 0x08: // extended
		b := make([]byte, 32)
		b[0], b[3] = flags, 0x1C
		binary.BigEndian.PutUint64(b[8:], uint64(at.Block))
		binary.BigEndian.PutUint64(b[16:], uint64(at.Block))
		return r.reply(b, alloc)
	}
	return badField()
}

// loadUnload answers LOAD UNLOAD. Faults tell the two apart.
func (u *tape) loadUnload(r *request) error {
	c, op := u.commands[scsi.LoadUnload][0], dev.OpUnload
	if r.cdb[4]&0x01 != 0 {
		op = dev.OpLoad
	}
	return u.struck(r, c, u.fault(op), u.moveMedium)
}

func (u *tape) moveMedium(r *request) error {
	load, hold := r.cdb[4]&0x01 != 0, r.cdb[4]&0x08 != 0
	switch {
	case load && r.cdb[4]&0x04 != 0: // at the end of the tape
		return badField()
	case u.deck.State() == vtl.DeckEmpty:
		return sense(scsi.NotReady, 0x3A, 0x00)
	case load && hold:
		return nil // in the drive and not threaded: so it is
	case load:
		return u.perhapsLater(r, func(ctx context.Context) error { return u.load(ctx, r.lun) })
	case len(u.preventing) > 0:
		return sense(scsi.IllegalRequest, 0x53, 0x02)
	}
	u.crypt.unloaded()
	return u.perhapsLater(r, u.deck.Unload)
}

// perhapsLater is immediate if the command has IMMED.
func (u *tape) perhapsLater(r *request, run func(ctx context.Context) error) error {
	if r.cdb[1]&0x01 != 0 {
		return u.immediate(r, run)
	}
	return run(r.ctx)
}
