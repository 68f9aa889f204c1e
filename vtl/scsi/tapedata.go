package target

import (
	"encoding/binary"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/vtl"
)

// length24 is the transfer length of a CDB of six bytes.
func length24(cdb []byte) int {
	return int(cdb[2])<<16 | int(cdb[3])<<8 | int(cdb[4])
}

// length24of16 is the transfer length of READ(16) and WRITE(16).
func length24of16(cdb []byte) int {
	return int(cdb[12])<<16 | int(cdb[13])<<8 | int(cdb[14])
}

func (u *tape) blockLimits(r *request) error {
	b := make([]byte, 6, 20)
	b[1], b[2], b[3] = dev.MaxBlock>>16&0xFF, dev.MaxBlock>>8&0xFF, dev.MaxBlock&0xFF
	b[5] = 1
	if r.cdb[1]&0x01 != 0 { // MLOI: the highest logical object
		b = binary.BigEndian.AppendUint64(make([]byte, 12), 1<<62)
	}
	return r.reply(b, len(b))
}

func (u *tape) read6(r *request) error {
	return u.read(r, length24(r.cdb), r.cdb[1]&0x01 != 0, r.cdb[1]&0x02 != 0)
}

func (u *tape) read16(r *request) error {
	if r.cdb[3] != 0 { // partition
		return badField()
	}
	return u.read(r, length24of16(r.cdb), r.cdb[1]&0x01 != 0, r.cdb[1]&0x02 != 0)
}

// read answers READ: one block of any length, or length blocks of the fixed one.
func (u *tape) read(r *request, length int, fixed, silent bool) error {
	switch {
	case fixed && (silent || u.blockLength == 0):
		return badField()
	case length == 0:
		return nil
	case fixed:
		return u.readFixed(r, length)
	case length > u.mostBytes():
		return badField()
	}
	n, size, err := u.readBlock(r, r.in[:min(length, len(r.in))])
	if err != nil {
		return u.readFailed(err, int64(length))
	}
	r.n = n
	if size == length || (silent && (size < length || u.blockLength == 0)) {
		return nil
	}
	return &check{scsi.Sense{ILI: true, Valid: true, Information: int64(length) - int64(size)}}
}

func (u *tape) readFixed(r *request, length int) error {
	each := u.wire(u.blockLength)
	for i := range length {
		if len(r.in)-r.n < each {
			return sense(scsi.AbortedCommand, 0x4B, 0x00) // data phase error: the initiator takes less than it asked for
		}
		n, size, err := u.readBlock(r, r.in[r.n:r.n+each])
		if err != nil {
			return u.readFailed(err, int64(length-i))
		}
		if size != each {
			return &check{scsi.Sense{ILI: true, Valid: true, Information: int64(length - i)}}
		}
		r.n += n
	}
	return nil
}

// readFailed is the end of a READ that lacks left blocks or bytes.
func (u *tape) readFailed(err error, left int64) error {
	c, ok := err.(*check) //nolint:errorlint // it is made here
	if !ok {
		c = conditionOf(err)
	}
	if c.Key == scsi.MediumError {
		u.counters.readErrors++
		u.alert(alertHardError)
		u.alert(alertReadFailure)
	}
	c.Valid, c.Information = true, left
	return c
}

// readBlock reads the block at the position into p, as much of it as fits, and
// tells how long it is with its protection information.
func (u *tape) readBlock(r *request, p []byte) (n, size int, err error) {
	kind, stored := u.deck.Next()
	switch kind {
	case vtl.EndOfData:
		return 0, 0, sense(scsi.BlankCheck, 0x00, 0x05)
	case vtl.Filemark:
		u.deck.Skip(1)
		return 0, 0, &check{scsi.Sense{Sense: dev.Sense{ASCQ: 0x01}, Filemark: true}}
	case vtl.Bad:
		return 0, 0, sense(scsi.MediumError, 0x11, 0x00)
	case vtl.Hollow:
		return 0, 0, sense(scsi.MediumError, 0x30, 0x02) // it holds no bytes
	}
	size = u.wire(int(stored))
	protected := u.protectedReads()
	if err := u.crypt.mayRead(r.lun, kind == vtl.Sealed); err != nil {
		return 0, 0, err
	}
	switch {
	case kind == vtl.Sealed:
		var plain []byte
		if plain, err = u.unseal(r, int(stored)); err != nil {
			return 0, 0, err
		}
		size = u.wire(len(plain))
		n = copy(p, plain)
		if protected {
			n += copy(p[n:], u.guard(plain))
		}
	case protected && len(p) < size:
		all := u.scratch(int(stored))
		if err := u.deck.Read(r.ctx, all); err != nil {
			return 0, 0, err
		}
		n = copy(p, all)
		n += copy(p[n:], u.guard(all))
	default:
		n = min(int(stored), len(p))
		if err := u.deck.Read(r.ctx, p[:n]); err != nil {
			return 0, 0, err
		}
		if protected {
			n += copy(p[n:], u.guard(p[:n]))
		}
	}
	u.counters.blocksRead++
	u.counters.bytesToHost += int64(n)
	u.counters.bytesFromMedium += stored
	return n, size, nil
}

// scratch is a buffer of the drive's own.
func (u *tape) scratch(n int) []byte {
	if cap(u.buf) < n {
		u.buf = make([]byte, n)
	}
	return u.buf[:n]
}

func (u *tape) write6(r *request) error {
	return u.write(r, length24(r.cdb), r.cdb[1]&0x01 != 0)
}

func (u *tape) write16(r *request) error {
	if r.cdb[3] != 0 {
		return badField()
	}
	return u.write(r, length24of16(r.cdb), r.cdb[1]&0x01 != 0)
}

// write answers WRITE: one block, or length blocks of the fixed length.
func (u *tape) write(r *request, length int, fixed bool) error {
	each, count, unit := length, 1, int64(length)
	if fixed {
		if u.blockLength == 0 {
			return badField()
		}
		each, count, unit = u.wire(u.blockLength), length, 1
	}
	switch {
	case length == 0:
		return nil
	case each > u.mostBytes():
		return badField()
	case len(r.out)/each < count:
		return sense(scsi.AbortedCommand, 0x4B, 0x00) // data phase error
	}
	if err := u.mayWrite(); err != nil {
		return err
	}
	warn := false
	for i := range count {
		early, err := u.writeBlock(r, r.out[i*each:(i+1)*each])
		if err != nil {
			return u.writeFailed(err, unit*int64(count-i))
		}
		r.n += each
		warn = warn || early
	}
	if u.unbuffered {
		if err := u.deck.Flush(r.ctx); err != nil {
			return u.writeFailed(err, 0)
		}
	}
	return u.written(warn)
}
