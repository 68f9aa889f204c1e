package tape

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/core/stream"
	lu "capstan/hw/scsi"
)

// fail is an error that this side raises.
func (d *Drive) fail(op string, err error) error { return d.u.Error(op, err) }

// notReady has the error of an unloaded medium be [dev.ErrNotReady] too, which it is
// to everyone who wants to use the medium.
func notReady(err error) error {
	var e *dev.Error
	if errors.As(err, &e) && errors.Is(e.Err, dev.ErrNotLoaded) && !errors.Is(e.Err, dev.ErrNotReady) {
		c := *e
		c.Err = fmt.Errorf("%w: %w", dev.ErrNotReady, e.Err)
		return &c
	}
	return err
}

// ready says why a command cannot be sent at all: another has the drive.
func (d *Drive) ready(ctx context.Context, op string) error {
	d.last = ctx
	d.writing = d.writing && (op == dev.OpWrite || op == dev.OpFilemarks || op == dev.OpPosition)
	return d.held(ctx, op)
}

// same says why a command cannot be sent that needs the medium it was before.
func (d *Drive) same(ctx context.Context, op string) error {
	if err := d.ready(ctx, op); err != nil {
		return err
	}
	if d.changed {
		return d.missing(ctx, op, dev.ErrMediumChanged)
	}
	return nil
}

// placed says why a command cannot be sent that begins at the position.
func (d *Drive) placed(ctx context.Context, op string) error {
	if err := d.same(ctx, op); err != nil {
		return err
	}
	if !d.known {
		return d.missing(ctx, op, dev.ErrPositionLost)
	}
	return nil
}

// missing is what the drive itself says of its state, if that is the reason, or else
// what this side knows.
func (d *Drive) missing(ctx context.Context, op string, err error) error {
	if derr := d.u.Drain(ctx); derr != nil {
		return notReady(asOp(derr, op))
	}
	if herr := d.held(ctx, op); herr != nil { // a unit attention has just told of it
		return herr
	}
	return d.fail(op, err)
}

// guard is the number of bytes of block protection (SSC-5 4.2.29): the CRC-32C of the
// block, least significant byte first, as it is on iSCSI's wire.
const guard = 4

func (d *Drive) grow(n int) []byte {
	if cap(d.buf) < n {
		d.buf = make([]byte, n)
	}
	return d.buf[:n]
}

// Read reads one block; see [dev.Drive].
func (d *Drive) Read(ctx context.Context, p []byte) (int, error) {
	if err := d.placed(ctx, dev.OpRead); err != nil {
		return 0, err
	}
	return d.read(ctx, p)
}

func (d *Drive) read(ctx context.Context, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, d.fail(dev.OpRead, fmt.Errorf("a buffer of no bytes: %w", dev.ErrNotSupported))
	}
	for try := 1; ; try++ {
		if err := d.settle(ctx, dev.OpRead); err != nil {
			return 0, err
		}
		in := p[:min(len(p), d.maxMoved)]
		if d.guarded {
			in = d.grow(min(len(p)+guard, d.maxMoved))
		}
		n := len(in)
		// Without SILI: with it a block that is longer would be cut in silence.
		r, err := d.u.Do(ctx, dev.OpRead, &scsi.Command{CDB: []byte{scsi.Read6, 0, byte(n >> 16), byte(n >> 8), byte(n), 0}, In: in})
		if harmless(&r.Sense) && try < tries {
			continue
		}
		return d.gave(ctx, p, in, r, err)
	}
}

// gave judges how a READ ended.
func (d *Drive) gave(ctx context.Context, p, in []byte, r lu.Reply, err error) (int, error) {
	s := &r.Sense
	switch {
	case err != nil && s.Deferred: // this command was not carried out (SPC-5 4.4.3)
		d.lose()
		return 0, err
	case errors.Is(err, dev.ErrFilemark):
		d.pass(0, 1)
		return 0, err
	case errors.Is(err, dev.ErrEndOfData):
		d.end = true
		return 0, err
	case errors.Is(err, dev.ErrEarlyWarning), errors.Is(err, dev.ErrProgrammableWarning):
		d.at.EOP = true // reading goes on
	case err != nil:
		if begun(s, err) {
			d.lose()
		}
		return 0, notReady(err)
	}
	n := r.N
	if s.ILI {
		if s.Valid {
			n = len(in) - int(s.Information)
		}
		if n > len(in) || (!s.Valid && n == len(in)) {
			d.pass(1, 0)
			return d.tooLong(p, in, n)
		}
		if n > 0 && n < len(in) && (r.N < n || d.can.short == no) {
			return d.readExact(ctx, p, in[:n], r.N)
		}
	}
	if n <= 0 {
		d.lose()
		return 0, d.fail(dev.OpRead, fmt.Errorf("%w: the drive says that all went well, and gave no bytes", dev.ErrHardware))
	}
	d.pass(1, 0)
	return d.check(p, in[:n])
}

// readExact reads a block again, with its own length, of which fewer bytes came than the
// drive says that it has: tgt gives of a block that is shorter than was asked for as
// many bytes as are missing.
func (d *Drive) readExact(ctx context.Context, p, in []byte, came int) (int, error) {
	if d.can.short != no {
		d.log.Warn("the drive does not give blocks whole that are shorter than was asked for: each is read twice", "bytes", came, "block", len(in))
		d.can.short = no
	}
	if err := d.move(ctx, dev.OpRead, space(spaceBlocks, -1)); err != nil {
		d.lose()
		return 0, err
	}
	n := len(in)
	r, err := d.u.Do(ctx, dev.OpRead, &scsi.Command{CDB: []byte{scsi.Read6, 0, byte(n >> 16), byte(n >> 8), byte(n), 0}, In: in})
	if err != nil || r.Sense.ILI || r.N != n {
		d.lose()
		return 0, d.fail(dev.OpRead, errors.Join(fmt.Errorf("%w: %d bytes came of a block of %d, and %d when it was read again", dev.ErrHardware, came, n, r.N), err))
	}
	d.pass(1, 0)
	return d.check(p, in)
}

// tooLong is a block that does not fit; the drive is past it.
func (d *Drive) tooLong(p, in []byte, n int) (int, error) {
	got := len(in)
	if d.guarded {
		n -= guard
		got = copy(p, in)
	}
	return got, d.fail(dev.OpRead, fmt.Errorf("%d bytes: %w of %d", n, dev.ErrBlockTooLong, got))
}

// check takes the protection off a block.
func (d *Drive) check(p, block []byte) (int, error) {
	if !d.guarded {
		return len(block), nil
	}
	n := len(block) - guard
	if n <= 0 || crc32.Checksum(block[:n], stream.Castagnoli) != binary.LittleEndian.Uint32(block[n:]) {
		return 0, d.fail(dev.OpRead, fmt.Errorf("%w: block %d came with a checksum that is not its own", dev.ErrProtection, d.at.Block-1))
	}
	return copy(p, block[:n]), nil
}

// Write writes one block; see [dev.Drive].
func (d *Drive) Write(ctx context.Context, p []byte) error {
	if err := d.placed(ctx, dev.OpWrite); err != nil {
		return err
	}
	if len(p) == 0 || len(p) > d.maxBlock {
		return d.fail(dev.OpWrite, fmt.Errorf("a block of %d bytes: the drive takes 1 to %d: %w", len(p), d.maxBlock, dev.ErrNotSupported))
	}
	if err := d.append(ctx, dev.OpWrite); err != nil {
		return err
	}
	for try := 1; ; try++ {
		again, err := d.writeOnce(ctx, p)
		if !again || try == tries {
			return err
		}
	}
}

// writeOnce sends a WRITE. again says that the block was not written, and that the
// same command may be sent at the same place once more.
func (d *Drive) writeOnce(ctx context.Context, p []byte) (again bool, _ error) {
	if err := d.settle(ctx, dev.OpWrite); err != nil {
		return false, err
	}
	out := p
	if d.guarded {
		out = d.grow(len(p) + guard)
		copy(out, p)
		binary.LittleEndian.PutUint32(out[len(p):], crc32.Checksum(p, stream.Castagnoli))
	}
	n := len(out)
	if n > d.maxMoved {
		return false, d.fail(dev.OpWrite, fmt.Errorf("a block of %d bytes: the host adapter carries %d in a command: %w", n, d.maxMoved, dev.ErrNotSupported))
	}
	r, err := d.u.Do(ctx, dev.OpWrite, &scsi.Command{CDB: []byte{scsi.Write6, 0, byte(n >> 16), byte(n >> 8), byte(n), 0}, Out: out})
	switch {
	case err == nil:
	case r.Sense.Deferred: // it is an earlier block that is lost
		d.lose()
		return false, err
	case errors.Is(err, dev.ErrEarlyWarning), errors.Is(err, dev.ErrProgrammableWarning):
		d.at.EOP = true
	case errors.Is(err, dev.ErrVolumeOverflow):
		d.at.EOP = true
		return false, err
	case harmless(&r.Sense):
		return true, err
	case errors.Is(err, dev.ErrProtection), errors.Is(err, dev.ErrAborted), errors.Is(err, lu.ErrNotSent):
		return d.stands(ctx, err)
	default:
		if begun(&r.Sense, err) {
			d.lose()
		}
		return false, notReady(err)
	}
	if left := untaken(&r, n); left != 0 {
		d.lose()
		return false, d.fail(dev.OpWrite, fmt.Errorf("%w: of a block of %d bytes %d were not written, and the drive says that all went well", dev.ErrHardware, n, left))
	}
	d.dirty = true
	d.pass(1, 0)
	d.end = true // what was after it is gone
	return false, err
}

// untaken is how many bytes of a block of n were left over when its WRITE had gone well:
// at early warning by the drive's own word, and else as the transport counts.
func untaken(r *lu.Reply, n int) int64 {
	switch s := &r.Sense; {
	case *s == scsi.Sense{}:
		return int64(n - r.N)
	case s.EOM && s.Valid:
		return s.Information
	}
	return 0
}

// stands finds out whether a block that failed on its way has left the drive where it
// was: then it may be sent again. A drive that has moved has taken something, and
// nobody knows what.
func (d *Drive) stands(ctx context.Context, cause error) (again bool, _ error) {
	losses := d.losses
	p, err := d.ask(ctx)
	if err == nil && d.losses == losses && int64(p.Block) == d.at.Block {
		d.log.Warn("a block is sent again", "block", d.at.Block, "error", cause)
		return true, cause
	}
	d.lose()
	return false, cause
}

// append sees before the first of several writes that the drive is where it was
// counted: an error of a read that the kernel kept to itself may have left it a block
// behind, and what is written there is the end of what was durable. It refuses to write
// over data on a medium that can be written once.
func (d *Drive) append(ctx context.Context, op string) error {
	if !d.writing {
		if err := d.confirm(ctx, op); err != nil {
			return err
		}
		d.writing = true
	}
	if !d.worm || d.end {
		return nil
	}
	at := d.at.Block
	if err := d.SpaceToEnd(ctx); err != nil {
		return err
	}
	if d.at.Block == at {
		return nil
	}
	end := d.at.Block
	if err := d.Locate(ctx, at); err != nil {
		return err
	}
	return d.fail(op, fmt.Errorf("%w: the medium can be written once: its data ends at block %d, and this is block %d", dev.ErrWriteProtected, end, at))
}

// WriteFilemarks writes filemarks; see [dev.Drive].
func (d *Drive) WriteFilemarks(ctx context.Context, n int, immediate bool) error {
	if err := d.placed(ctx, dev.OpFilemarks); err != nil {
		return err
	}
	if n < 0 || n > largestBlock {
		return d.fail(dev.OpFilemarks, fmt.Errorf("%d filemarks: give 0 to %d: %w", n, largestBlock, dev.ErrNotSupported))
	}
	if n == 0 && immediate {
		return nil
	}
	if n > 0 {
		if err := d.append(ctx, dev.OpFilemarks); err != nil {
			return err
		}
	}
	immediate = immediate && d.can.immediate != no
	for try := 1; ; try++ {
		if err := d.settle(ctx, dev.OpFilemarks); err != nil {
			return err
		}
		r, err := d.u.Do(ctx, dev.OpFilemarks, &scsi.Command{CDB: []byte{scsi.WriteFilemarks6, bit(immediate), byte(n >> 16), byte(n >> 8), byte(n), 0}})
		if try < tries && harmless(&r.Sense) {
			continue
		}
		if immediate && errors.Is(err, dev.ErrNotSupported) { // then it is waited for
			d.can.immediate, immediate = no, false
			continue
		}
		return d.wrote(ctx, n, immediate, r, err)
	}
}

func bit(on bool) byte {
	if on {
		return 1
	}
	return 0
}

// wrote judges how a WRITE FILEMARKS ended. Early warning is told by blocks and by
// the position: marks have room kept for them.
func (d *Drive) wrote(ctx context.Context, n int, immediate bool, r lu.Reply, err error) error {
	switch {
	case err == nil:
	case r.Sense.Deferred:
		d.lose()
		return err
	case errors.Is(err, dev.ErrEarlyWarning), errors.Is(err, dev.ErrProgrammableWarning):
		d.at.EOP = true
	case errors.Is(err, dev.ErrVolumeOverflow):
		d.lose() // some of the marks may stand, and of the blocks before them
		return err
	default:
		if begun(&r.Sense, err) {
			d.lose()
		}
		return notReady(err)
	}
	d.pass(0, int64(n))
	d.end = d.end || n > 0 // what was after them is gone
	if immediate {
		return nil
	}
	d.dirty = false
	return d.confirm(ctx, dev.OpFilemarks)
}

// Erase makes the medium empty from here on; see [dev.Drive].
func (d *Drive) Erase(ctx context.Context) error {
	if err := d.placed(ctx, dev.OpErase); err != nil {
		return err
	}
	if d.can.erase == no {
		return d.fail(dev.OpErase, fmt.Errorf("%w: what is written next ends the medium's data as well", dev.ErrNotSupported))
	}
	if err := d.append(ctx, dev.OpErase); err != nil {
		return err
	}
	before := d.at
	if err := d.move(ctx, dev.OpErase, []byte{scsi.Erase6, 0, 0, 0, 0, 0}); err != nil {
		if errors.Is(err, dev.ErrNotSupported) {
			d.can.erase = no
		}
		return err
	}
	if err := d.confirm(ctx, dev.OpErase); err != nil {
		return err
	}
	d.at.EOP, d.end = before.EOP, true
	return nil
}
