package tape

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"capstan/core/dev"
	"capstan/core/scsi"
	lu "capstan/hw/scsi"
)

// lose forgets the position, and with it what the parameters are: what took the one may
// have taken the others.
func (d *Drive) lose() {
	d.known, d.filed, d.marked, d.end, d.settled, d.writing = false, false, false, false, false, false
	d.losses++
}

// arrive notes where the drive says that it is.
func (d *Drive) arrive(p lu.Position) {
	d.at = dev.Position{Block: int64(p.Block), File: int64(p.File), BOP: p.Block == 0, EOP: p.EOP}
	d.known, d.filed, d.end = true, p.FileKnown, false
	if p.Block == 0 {
		d.at.File, d.filed = 0, true
	}
	d.forgetMarks()
}

// begin notes that the drive is at the beginning.
func (d *Drive) begin() {
	d.at, d.known, d.filed, d.end = dev.Position{BOP: true}, true, true, false
	d.marks, d.marked = d.marks[:0], true
}

// forgetMarks keeps of the marks that were seen those before the position, if they
// are all of them.
func (d *Drive) forgetMarks() {
	d.marked = d.at.Block == 0
	if d.marked {
		d.marks = d.marks[:0]
	}
}

// pass counts objects that the drive has passed forward.
func (d *Drive) pass(blocks, marks int64) {
	for i := range marks {
		if d.marked {
			d.marks = append(d.marks, d.at.Block+blocks+i)
		}
	}
	d.at.Block += blocks + marks
	d.at.File += marks
	d.at.BOP = d.at.Block == 0
	d.end = d.end && blocks+marks == 0
}

// errUnknown is a drive's own word that it does not know where it is.
var errUnknown = errors.New("the drive does not know its position")

// ask asks the drive where it is. A number that it does not vouch for is an error,
// and so is one that fits no medium, or that its own flag of the beginning contradicts:
// tgt says block 0 wherever it is, and never that it is at the beginning.
func (d *Drive) ask(ctx context.Context) (lu.Position, error) {
	if d.can.tells == no {
		return lu.Position{}, errUnknown
	}
	p, err := d.u.ReadPosition(ctx, d.can.long != no)
	if d.can.long == unknown {
		if d.can.long = found(err); d.can.long == no {
			p, err = d.u.ReadPosition(ctx, false)
		}
	}
	if errors.Is(err, dev.ErrNotSupported) {
		d.can.tells = no
		return p, errUnknown
	}
	if err != nil {
		return p, err
	}
	if !p.Known || p.Block > 1<<62 || p.File > p.Block || p.BOP != (p.Block == 0) {
		return p, errUnknown
	}
	d.can.tells = yes
	return p, nil
}

// mute tells whether an error of ask is all that can be had of this drive. One that
// knew its position once, and now does not, has lost it.
func (d *Drive) mute(err error) bool { return errors.Is(err, errUnknown) && d.can.tells != yes }

// Position says where the drive is; see [dev.Drive]. The drive's word holds: if it
// differs from the count, it is the caller who knows where it should be.
func (d *Drive) Position(ctx context.Context) (dev.Position, error) {
	if err := d.ready(ctx, dev.OpPosition); err != nil {
		return dev.Position{}, err
	}
	p, err := d.ask(ctx)
	if herr := d.held(ctx, dev.OpPosition); herr != nil {
		return dev.Position{}, herr
	}
	if d.changed {
		return dev.Position{}, d.fail(dev.OpPosition, dev.ErrMediumChanged)
	}
	switch {
	case err == nil:
		d.adopt(p)
	case errors.Is(err, errUnknown) && !d.mute(err), d.mute(err) && !d.known:
		d.lose()
		return dev.Position{}, d.fail(dev.OpPosition, fmt.Errorf("%w: %w: rewind", dev.ErrPositionLost, err))
	case !d.mute(err):
		d.lose()
		return dev.Position{}, notReady(err)
	}
	r := d.at
	if !d.filed {
		r.File = -1
	}
	return r, nil
}

// adopt takes the drive's word for the position, and keeps what the count knows beside.
func (d *Drive) adopt(p lu.Position) {
	if d.known && d.at.Block == int64(p.Block) && (!p.FileKnown || !d.filed || d.at.File == int64(p.File)) {
		d.at.EOP = p.EOP
		if p.FileKnown {
			d.at.File, d.filed = int64(p.File), true
		}
		return
	}
	if d.known {
		d.log.Warn("the drive is elsewhere than was counted", "drive's block", p.Block, "counted", d.at.Block)
	}
	d.arrive(p)
}

// confirm compares the count with the drive's word.
func (d *Drive) confirm(ctx context.Context, op string) error {
	losses := d.losses
	p, err := d.ask(ctx)
	if d.mute(err) && d.losses == losses {
		return nil // the drive cannot tell
	}
	if err != nil || d.losses != losses {
		d.lose()
		return d.fail(op, errors.Join(dev.ErrPositionLost, err))
	}
	if int64(p.Block) != d.at.Block || (p.FileKnown && d.filed && int64(p.File) != d.at.File) {
		was := d.at
		d.lose()
		return d.fail(op, fmt.Errorf("%w: the drive is at block %d, file %d, where block %d, file %d was counted", dev.ErrPositionLost, p.Block, p.File, was.Block, was.File))
	}
	d.adopt(p)
	return nil
}

// Rewind goes to the beginning; see [dev.Drive].
func (d *Drive) Rewind(ctx context.Context) error {
	if err := d.ready(ctx, dev.OpRewind); err != nil {
		return err
	}
	return d.rewind(ctx)
}

func (d *Drive) rewind(ctx context.Context) error {
	if err := d.move(ctx, dev.OpRewind, []byte{scsi.Rewind, 0, 0, 0, 0, 0}); err != nil {
		return err
	}
	d.changed = false
	d.begin()
	return nil
}

// move sends a command that moves the tape. Where it is after an error, nobody knows;
// a unit attention is told, for what it says has to be known before the tape moves on.
func (d *Drive) move(ctx context.Context, op string, cdb []byte) error {
	for try := 1; ; try++ {
		r, err := d.u.Do(ctx, op, &scsi.Command{CDB: cdb})
		if err == nil {
			return nil
		}
		if try < tries && (harmless(&r.Sense) || (r.Sense.Key == scsi.UnitAttention && startsAnew(cdb, r.Sense.ASC))) {
			continue
		}
		if lu.Done(err) && !r.Sense.Deferred {
			d.at.EOP = true
			return nil
		}
		if !begun(&r.Sense, err) {
			return notReady(err)
		}
		d.lose()
		return err
	}
}

// tries is how often a command is sent that the drive did not begin.
const tries = 5

// startsAnew tells whether a command leads to where it should also after what a unit
// attention tells: a reset for one that needs no position to begin from, and another
// medium for one that loads or ejects it.
func startsAnew(cdb []byte, asc uint8) bool {
	switch cdb[0] {
	case scsi.LoadUnload:
		return asc == 0x28 || asc == 0x29
	case scsi.Rewind, scsi.Locate10, scsi.Locate16:
		return asc == 0x29
	}
	return asc == 0x29 && cdb[0] == scsi.Space6 && cdb[1] == spaceEnd
}

// begun tells whether a command that ended with an error may have moved or written
// anything: not if the drive has refused it before it began.
func begun(s *scsi.Sense, err error) bool {
	if s.Deferred {
		return true
	}
	switch s.Key {
	case scsi.IllegalRequest, scsi.DataProtect, scsi.UnitAttention:
		return false
	case scsi.NotReady:
		return s.ASC != 0x04 && s.ASC != 0x3A
	}
	return !(errors.Is(err, dev.ErrReservation) && s.Key == scsi.NoSense)
}

// Locate goes to a logical object; see [dev.Drive].
func (d *Drive) Locate(ctx context.Context, block int64) error {
	if err := d.same(ctx, dev.OpLocate); err != nil {
		return err
	}
	if block < 0 {
		return d.fail(dev.OpLocate, fmt.Errorf("object %d: %w", block, dev.ErrBeginning))
	}
	before := d.can
	err := d.locate(ctx, block)
	if err == nil {
		return nil
	}
	if !errors.Is(err, dev.ErrNotSupported) {
		return err
	}
	if d.can.locate16 != before.locate16 || d.can.locate10 != before.locate10 {
		d.lose() // through the kernel's driver nobody can tell a refusal from a failure on the way
	}
	return d.walkTo(ctx, dev.OpLocate, block)
}

// locate sends LOCATE. [dev.ErrNotSupported] if the drive has none.
func (d *Drive) locate(ctx context.Context, block int64) error {
	err := d.fail(dev.OpLocate, dev.ErrNotSupported)
	if d.can.locate16 != no {
		cdb := make([]byte, 16)
		cdb[0] = scsi.Locate16
		binary.BigEndian.PutUint64(cdb[4:], uint64(block))
		if err = d.move(ctx, dev.OpLocate, cdb); errors.Is(err, dev.ErrNotSupported) {
			d.can.locate16 = no
		}
	}
	if d.can.locate16 == no && d.can.locate10 != no && block < 1<<32 {
		cdb := make([]byte, 10)
		cdb[0] = scsi.Locate10
		binary.BigEndian.PutUint32(cdb[3:], uint32(block))
		if err = d.move(ctx, dev.OpLocate, cdb); errors.Is(err, dev.ErrNotSupported) {
			d.can.locate10 = no
		}
	}
	switch {
	case err == nil:
		return d.landed(ctx, dev.OpLocate, block)
	case errors.Is(err, dev.ErrEndOfData):
		d.known = false
		if d.blind(ctx) {
			return errors.Join(err, d.walkToEnd(ctx))
		}
		if lerr := d.landed(ctx, dev.OpLocate, -1); lerr != nil {
			return lerr
		}
		d.end = true
	}
	return err
}

// landed asks where a movement has led: to a block, or -1 for anywhere.
func (d *Drive) landed(ctx context.Context, op string, block int64) error {
	losses := d.losses
	p, err := d.ask(ctx)
	switch {
	case d.losses != losses:
		return d.fail(op, dev.ErrPositionLost)
	case d.mute(err) && block >= 0:
		d.arrive(lu.Position{Block: uint64(block)})
		return nil
	case err != nil:
		d.lose()
		return d.fail(op, errors.Join(dev.ErrPositionLost, err))
	case block >= 0 && int64(p.Block) != block:
		d.lose()
		return d.fail(op, fmt.Errorf("%w: the drive went to block %d and says that it is at %d", dev.ErrPositionLost, block, p.Block))
	}
	d.arrive(p)
	return nil
}

// The codes of SPACE.
const (
	spaceBlocks    = 0
	spaceFilemarks = 1
	spaceEnd       = 3
)

func space(code byte, n int) []byte {
	return []byte{scsi.Space6, code, byte(n >> 16), byte(n >> 8), byte(n), 0}
}

// mostMarks is what the 24 bits of SPACE(6) hold.
const mostMarks = 1<<23 - 1

// Space moves over filemarks; see [dev.Drive].
func (d *Drive) Space(ctx context.Context, n int) error {
	if err := d.placed(ctx, dev.OpSpace); err != nil {
		return err
	}
	if n > mostMarks || n < -mostMarks {
		return d.fail(dev.OpSpace, fmt.Errorf("%d filemarks: at most %d: %w", n, mostMarks, dev.ErrNotSupported))
	}
	if n == 0 {
		return nil
	}
	if d.blind(ctx) {
		return d.walkMarks(ctx, n)
	}
	file, filed := d.at.File, d.filed
	err := d.move(ctx, dev.OpSpace, space(spaceFilemarks, n))
	if err != nil && !errors.Is(err, dev.ErrEndOfData) && !errors.Is(err, dev.ErrBeginning) {
		return err
	}
	if lerr := d.landed(ctx, dev.OpSpace, -1); lerr != nil {
		return lerr
	}
	d.end = errors.Is(err, dev.ErrEndOfData)
	if err == nil && filed && !d.filed { // a drive with the short form only
		d.at.File, d.filed = file+int64(n), true
	}
	if err == nil && filed && d.at.File != file+int64(n) {
		at := d.at.File
		d.lose()
		return d.fail(dev.OpSpace, fmt.Errorf("%w: %d filemarks from file %d led to file %d", dev.ErrPositionLost, n, file, at))
	}
	return err
}

// SpaceToEnd goes to the end of data; see [dev.Drive].
func (d *Drive) SpaceToEnd(ctx context.Context) error {
	if err := d.same(ctx, dev.OpSpace); err != nil {
		return err
	}
	if d.blind(ctx) {
		return d.walkToEnd(ctx)
	}
	if err := d.move(ctx, dev.OpSpace, space(spaceEnd, 0)); err != nil && !errors.Is(err, dev.ErrEndOfData) {
		return err
	}
	err := d.landed(ctx, dev.OpSpace, -1)
	d.end = err == nil
	return err
}

// blind tells whether the drive cannot say where it is.
func (d *Drive) blind(ctx context.Context) bool {
	if d.can.tells == unknown {
		_, err := d.ask(ctx)
		if errors.Is(err, errUnknown) {
			d.can.tells = no
			d.log.Warn("the drive never knows its position: it is counted from the beginning, and what cannot be located is read through")
		}
	}
	return d.can.tells == no
}
