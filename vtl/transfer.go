package vtl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan/core/dev"
)

// Read reads one block. A hollow block has no bytes to give: [dev.ErrNotSupported].
func (h *driveHandle) Read(ctx context.Context, p []byte) (n int, err error) {
	err = h.do(ctx, dev.OpRead, needPosition, func(ctx context.Context) error {
		n, err = h.d.read(ctx, p)
		return err
	})
	return n, err
}

func (d *drive) read(ctx context.Context, p []byte) (int, error) {
	t := d.cart.tape
	if d.pos >= t.end() {
		return 0, dev.ErrEndOfData
	}
	r := &t.runs[t.find(d.pos)]
	switch r.kind {
	case markObject:
		d.step(1)
		return 0, dev.ErrFilemark
	case hollowObject:
		return 0, fmt.Errorf("object %d holds no bytes: %w", d.pos, dev.ErrNotSupported)
	case sealedObject:
		return 0, fmt.Errorf("object %d: %w", d.pos, dev.ErrEncryption)
	case badObject:
		return 0, fmt.Errorf("object %d is marked bad: %w", d.pos, dev.ErrMedium)
	}
	size := r.size
	n := int(min(size, int64(len(p))))
	if err := d.fetch(ctx, p[:n]); err != nil {
		return 0, err
	}
	if int64(n) < size {
		return n, fmt.Errorf("%d bytes: %w of %d", size, dev.ErrBlockTooLong, n)
	}
	return n, nil
}

// fetch reads the first bytes of the block at the position, and passes it.
func (d *drive) fetch(ctx context.Context, p []byte) error {
	t := d.cart.tape
	size, n := t.runs[t.find(d.pos)].size, int64(len(p))
	if err := t.body.readBlock(t.before(d.pos).off, p); err != nil {
		return fmt.Errorf("%w: %w", dev.ErrMedium, err)
	}
	d.transfer(ctx, size, true, func(s *dev.DriveStats) { s.BytesRead += n })
	d.cart.side.Memory.Read += n
	d.step(1)
	return nil
}

// step passes objects.
func (d *drive) step(n int64) {
	d.pos += n
	d.epoch++
}

// transfer spends the time that bytes take at the drive's rate.
func (d *drive) transfer(ctx context.Context, bytes int64, reading bool, add func(s *dev.DriveStats)) {
	t := timeOf(bytes, d.rate())
	begin := d.clock(ctx)
	d.spend(t)
	d.moved += bytes
	d.count(func(s *dev.DriveStats) {
		s.Transferring += t
		add(s)
	})
	d.stream(ctx, bytes, reading, begin)
}

// timeOf is the time for bytes at a drive's rate, or one below: whole seconds
// apart, the product fits 64 bits.
func timeOf(bytes, rate int64) time.Duration {
	return time.Duration(bytes/rate)*time.Second + time.Duration(bytes%rate*int64(time.Second)/rate)
}

// room checks that the medium takes bytes of its capacity at the position, and tells
// whether it is past early warning then.
func (d *drive) room(bytes int64) (warn bool, err error) {
	c := d.cart
	if d.protected() {
		return false, dev.ErrWriteProtected
	}
	if c.side.WORM && !c.tape.onlyMarks(d.pos) {
		return false, fmt.Errorf("cartridge %s is WORM and holds data here: %w", c.side.Barcode, dev.ErrWriteProtected)
	}
	after := c.tape.before(d.pos).at + bytes
	if after > c.side.Capacity {
		return false, dev.ErrVolumeOverflow
	}
	return after > c.side.Capacity-c.side.Reserve, nil
}

// Write writes one block at the position; what was there and after it is gone.
func (h *driveHandle) Write(ctx context.Context, p []byte) error {
	return h.do(ctx, dev.OpWrite, needPosition, func(ctx context.Context) error {
		return h.d.write(ctx, p)
	})
}

func (d *drive) write(ctx context.Context, p []byte) error {
	if len(p) == 0 || len(p) > dev.MaxBlock {
		return fmt.Errorf("a block of %d bytes: give 1 to %d: %w", len(p), dev.MaxBlock, dev.ErrNotSupported)
	}
	return d.put(ctx, blockObject, p)
}

// put writes a block of a kind at the position.
func (d *drive) put(ctx context.Context, kind objectKind, p []byte) error {
	n := int64(len(p))
	t := d.cart.tape
	warn, err := d.room(t.stored(n))
	if err != nil {
		return err
	}
	if err := t.truncate(ctx, d.pos); err != nil {
		return fmt.Errorf("%w: %w", dev.ErrMedium, err)
	}
	if err := t.write(kind, p); err != nil {
		return fmt.Errorf("%w: %w", dev.ErrMedium, err)
	}
	d.dirty = true
	d.step(1)
	d.transfer(ctx, n, false, func(s *dev.DriveStats) { s.BytesWritten += n })
	d.cart.side.Memory.Written += n
	if warn {
		return dev.ErrEarlyWarning
	}
	return nil
}

// maxFilemarks is how many one command can write: WRITE FILEMARKS(6) has 24 bits.
const maxFilemarks = 1<<24 - 1

// WriteFilemarks writes filemarks and, unless immediate, makes everything before
// durable. Early warning is told by writes and by Position, not here.
func (h *driveHandle) WriteFilemarks(ctx context.Context, n int, immediate bool) error {
	return h.do(ctx, dev.OpFilemarks, needPosition, func(ctx context.Context) error {
		d := h.d
		if n < 0 || n > maxFilemarks {
			return fmt.Errorf("%d filemarks: give 0 to %d: %w", n, maxFilemarks, dev.ErrNotSupported)
		}
		if n > 0 {
			if err := d.writeMarks(ctx, int64(n)); err != nil {
				return err
			}
		}
		if immediate {
			return nil
		}
		return d.flush(ctx)
	})
}

func (d *drive) writeMarks(ctx context.Context, n int64) error {
	if n > d.cart.side.Capacity/filemarkBytes {
		return dev.ErrVolumeOverflow
	}
	if _, err := d.room(n * filemarkBytes); err != nil {
		return err
	}
	t := d.cart.tape
	if err := t.truncate(ctx, d.pos); err != nil {
		return fmt.Errorf("%w: %w", dev.ErrMedium, err)
	}
	if err := t.writeMarks(n); err != nil {
		return fmt.Errorf("%w: %w", dev.ErrMedium, err)
	}
	d.dirty = true
	d.step(n)
	d.count(func(s *dev.DriveStats) { s.Filemarks += n })
	return nil
}

// flush empties the drive's buffer to the medium.
func (d *drive) flush(ctx context.Context) error {
	if d.dirty {
		d.spend(d.model.BackHitch)
		d.run = streaming{}
	}
	if err := d.cart.tape.sync(ctx); err != nil {
		return fmt.Errorf("%w: %w", dev.ErrMedium, err)
	}
	if d.dirty {
		d.count(func(s *dev.DriveStats) { s.Flushing += d.model.BackHitch })
	}
	d.dirty = false
	return nil
}

// Erase makes the medium empty from the position on, durably.
func (h *driveHandle) Erase(ctx context.Context) error {
	return h.do(ctx, dev.OpErase, needPosition, func(ctx context.Context) error {
		d := h.d
		return d.wipe(ctx)
	})
}

func (d *drive) wipe(ctx context.Context) error {
	if d.protected() || (d.cart.side.WORM && d.pos < d.cart.tape.end()) {
		return dev.ErrWriteProtected
	}
	d.epoch++
	err := d.cart.tape.truncate(ctx, d.pos)
	if err == nil {
		err = d.cart.tape.sync(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", dev.ErrMedium, err)
	}
	d.count(func(*dev.DriveStats) {})
	return nil
}

// WriteHollow writes blocks that nobody holds. The time is that of a flow over
// via and the drive, waited for in the caller's task: one that dies on the way
// has written nothing.
func (h *driveHandle) WriteHollow(ctx context.Context, n, size int64, via []dev.Resource) (int64, error) {
	d := h.d
	var fit, epoch int64
	var warn bool
	err := h.do(ctx, dev.OpWrite, needPosition, func(context.Context) (err error) {
		fit, warn, err = d.fitHollow(n, size)
		epoch = d.epoch
		return err
	})
	if err != nil {
		return 0, err
	}
	begin := d.lib.clock(ctx)
	if err := d.flow(ctx, via, fit); err != nil {
		return 0, err
	}
	if err := h.passed(ctx, dev.OpWrite, epoch, func(ctx context.Context) error {
		if err := d.putHollow(ctx, fit, size); err != nil {
			return err
		}
		d.streamHollow(ctx, fit, false, begin)
		return nil
	}); err != nil {
		return 0, err
	}
	if warn {
		return fit, report(d.name, dev.OpWrite, dev.ErrEarlyWarning)
	}
	return fit, nil
}

// fitHollow is how much of n bytes in blocks of size is written until the first
// block past early warning is, that block included.
func (d *drive) fitHollow(n, size int64) (fit int64, warn bool, err error) {
	c := d.cart
	switch {
	case !c.tape.body.hollow():
		return 0, false, fmt.Errorf("cartridge %s is a .tap file and takes no hollow data: %w", c.side.Barcode, dev.ErrNotSupported)
	case n <= 0 || size <= 0 || size > dev.MaxBlock:
		return 0, false, fmt.Errorf("%d hollow bytes in blocks of %d: %w", n, size, dev.ErrNotSupported)
	}
	each := c.tape.stored(size)
	if warn, err = d.room(c.tape.stored(min(n, size))); err != nil {
		return 0, false, err
	}
	if warn {
		return min(n, size), true, nil
	}
	whole := (c.side.Capacity - c.side.Reserve - c.tape.before(d.pos).at) / each // blocks before the warning
	if n <= whole*size {
		return n, false, nil
	}
	fit = min(whole*size+size, n)
	last := fit - whole*size
	warn, err = d.room(whole*each + c.tape.stored(last))
	if err != nil { // the reserve is smaller than a block
		return whole * size, false, nil
	}
	return fit, warn, nil
}

func (d *drive) putHollow(ctx context.Context, n, size int64) error {
	t := d.cart.tape
	if err := t.truncate(ctx, d.pos); err != nil {
		return fmt.Errorf("%w: %w", dev.ErrMedium, err)
	}
	if err := t.writeHollow(n, size); err != nil {
		return fmt.Errorf("%w: %w", dev.ErrMedium, err)
	}
	d.dirty = true
	d.pos = t.end()
	d.epoch++
	d.moved += n
	d.cart.side.Memory.Written += n
	d.count(func(s *dev.DriveStats) { s.BytesWritten += n })
	return nil
}

// ReadHollow reads hollow blocks from the position on. A block longer than n is
// [dev.ErrBlockTooLong], and the drive stays before it.
func (h *driveHandle) ReadHollow(ctx context.Context, n int64, via []dev.Resource) (int64, error) {
	d := h.d
	var objects, bytes, epoch int64
	err := h.do(ctx, dev.OpRead, needPosition, func(context.Context) error {
		t := d.cart.tape
		epoch = d.epoch
		objects, bytes = t.hollowRun(d.pos, n)
		if bytes == 0 && d.pos < t.end() && t.runs[t.find(d.pos)].kind == hollowObject {
			return fmt.Errorf("a hollow block: %w of %d", dev.ErrBlockTooLong, n)
		}
		return nil
	})
	if err != nil || bytes == 0 {
		return 0, err
	}
	begin := d.lib.clock(ctx)
	if err := d.flow(ctx, via, bytes); err != nil {
		return 0, err
	}
	if err := h.passed(ctx, dev.OpRead, epoch, func(ctx context.Context) error {
		d.step(objects)
		d.moved += bytes
		d.cart.side.Memory.Read += bytes
		d.count(func(s *dev.DriveStats) { s.BytesRead += bytes })
		d.streamHollow(ctx, bytes, true, begin)
		return nil
	}); err != nil {
		return 0, err
	}
	return bytes, nil
}

// flow waits for as long as hollow bytes take over via and the drive.
func (d *drive) flow(ctx context.Context, via []dev.Resource, bytes int64) error {
	d.lib.lock.Lock()
	c := d.cart
	d.lib.lock.Unlock()
	if c == nil {
		return report(d.name, dev.OpWrite, dev.ErrNoMedium)
	}
	own := dev.Resource{Name: d.name}
	if d.lib.cfg.TimeScale > 0 {
		own.Rate = d.rateWith(c) * d.lib.cfg.TimeScale
	}
	all := append(append(make([]dev.Resource, 0, len(via)+1), via...), own)
	if d.lib.opts.Transfer != nil {
		return d.lib.opts.Transfer(ctx, all, bytes)
	}
	if own.Rate == 0 {
		return nil
	}
	rate := d.rateWith(c)
	for _, r := range via {
		if r.Rate > 0 {
			rate = min(rate, r.Rate)
		}
		if r.Stream > 0 {
			rate = min(rate, r.Stream)
		}
	}
	return d.lib.pass(ctx, timeOf(bytes, rate))
}

// passed has the drive note what hollow bytes that have passed leave behind. The command
// was admitted before they began to.
func (h *driveHandle) passed(ctx context.Context, op string, epoch int64, note func(ctx context.Context) error) error {
	d := h.d
	return report(d.name, op, d.unit.do(ctx, command{brief: true, run: func(ctx context.Context) error {
		if err := d.same(epoch); err != nil {
			return err
		}
		return note(ctx)
	}}))
}

// same checks that the drive is still where a hollow transfer began.
func (d *drive) same(epoch int64) error {
	if d.epoch != epoch || d.state != ready {
		return errors.Join(dev.ErrPositionLost, errors.New("another command came while the data was on its way"))
	}
	return nil
}
