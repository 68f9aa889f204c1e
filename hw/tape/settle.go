package tape

import (
	"context"
	"errors"
	"fmt"

	"capstan/core/dev"
	"capstan/core/scsi"
	lu "capstan/hw/scsi"
)

// settle sets the drive's parameters for data, which a reset, another medium or
// another user of the drive may have changed: before the first block of a handle, and
// whenever a unit attention says that they may be others. Each is read back.
func (d *Drive) settle(ctx context.Context, op string) error {
	if d.settled {
		return nil
	}
	losses := d.losses
	for _, set := range []func(context.Context) error{d.setBlocks, d.setProtection, d.setKey, d.askMedium} {
		if err := set(ctx); err != nil {
			return notReady(asOp(err, op))
		}
	}
	if d.losses != losses || !d.known {
		return d.fail(op, dev.ErrPositionLost)
	}
	d.settled = true
	return nil
}

// setBlocks has blocks be of variable length, the drive buffer them, and compression
// be on or off.
func (d *Drive) setBlocks(ctx context.Context) error {
	m, err := d.modeBlocks(ctx)
	if err != nil {
		return err
	}
	if d.blocksAreSet(&m) {
		return nil
	}
	m.BlockLength, m.Buffered = 0, 1
	if p := m.Page; len(p) >= 4 && p[2]&canCompress != 0 {
		p[2] = p[2]&^compresses | compresses*bit(d.opts.Compress)
		p[3] |= decompresses
	}
	err = d.u.ModeSelect(ctx, &m)
	if errors.Is(err, dev.ErrNotSupported) { // the page, maybe
		m.Page = nil
		err = d.u.ModeSelect(ctx, &m)
	}
	// One that takes neither may be as it should be all the same: it is read back.
	if err != nil && !roundedOff(err) && !errors.Is(err, dev.ErrNotSupported) {
		return err
	}
	if m, err = d.modeBlocks(ctx); err != nil {
		return err
	}
	if m.Descriptor && m.BlockLength != 0 {
		return d.fail("MODE SELECT", fmt.Errorf("%w: blocks of variable length; it stays at %d bytes", dev.ErrNotSupported, m.BlockLength))
	}
	if !d.blocksAreSet(&m) {
		d.log.Warn("the drive does not keep the parameters it was given", "buffered mode", m.Buffered, "compression page", fmt.Sprintf("% X", m.Page))
	}
	return nil
}

// Bits of the data compression page (SSC-5 8.3.2).
const (
	compresses   = 0x80 // byte 2
	canCompress  = 0x40
	decompresses = 0x80 // byte 3
)

func (d *Drive) blocksAreSet(m *lu.Mode) bool {
	if (m.Descriptor && m.BlockLength != 0) || m.Buffered == 0 {
		return false
	}
	if len(m.Page) < 4 || m.Page[2]&canCompress == 0 {
		return true
	}
	return (m.Page[2]&compresses != 0) == d.opts.Compress && m.Page[3]&decompresses != 0
}

// modeBlocks reads the header, the block descriptor and the compression page, if the
// drive has one.
func (d *Drive) modeBlocks(ctx context.Context) (lu.Mode, error) {
	if d.can.compression != no {
		m, err := d.u.ModeSense(ctx, lu.Current, lu.PageCompression, 0)
		d.can.compression = found(err)
		if err == nil && (len(m.Page) < 4 || m.Page[2]&canCompress == 0) {
			d.can.compression = no
		}
		if d.opts.Compress && d.can.compression == no {
			d.log.Warn("the drive has no compression that can be set")
		}
		if err == nil || d.can.compression != no {
			return m, err
		}
	}
	return d.modeHeader(ctx)
}

// modeHeader reads the header and the block descriptor alone.
func (d *Drive) modeHeader(ctx context.Context) (lu.Mode, error) {
	m, err := d.u.ModeSense(ctx, lu.Current, lu.NoPage, 0)
	if errors.Is(err, dev.ErrNotSupported) {
		m, err = d.u.ModeSense(ctx, lu.Current, lu.PageConfiguration, 0)
	}
	m.Page = nil
	return m, err
}

// roundedOff tells whether a drive has taken parameters with a change of its own.
func roundedOff(err error) bool {
	var e *dev.Error
	return errors.As(err, &e) && e.Sense.ASC == 0x37 && (e.Sense.Key == scsi.RecoveredError || e.Sense.Key == scsi.NoSense)
}

// The control data protection page (SSC-5 8.3.9), after its header of four bytes.
const (
	protectMethod = 4
	protectLength = 5
	protectWhen   = 6

	methodCRC32C = 0x02
	onBoth       = 0xC0 // written blocks and read ones
)

// setProtection turns logical block protection on, or makes sure that it is off: a
// drive that was left with it takes the last bytes of each block for its checksum.
func (d *Drive) setProtection(ctx context.Context) error {
	d.guarded = false
	if d.can.protection == no {
		return nil
	}
	m, err := d.protection(ctx)
	if errors.Is(err, dev.ErrNotSupported) {
		d.can.protection = no
		return nil
	}
	if err != nil {
		return err
	}
	d.can.protection = yes
	if d.opts.Unprotected {
		return d.unprotect(ctx, &m)
	}
	if !protects(&m) {
		m.Page[protectMethod], m.Page[protectLength] = methodCRC32C, guard
		m.Page[protectWhen] = m.Page[protectWhen]&^onBoth | onBoth
		err := d.u.ModeSelect(ctx, &m)
		if errors.Is(err, dev.ErrNotSupported) {
			d.log.Warn("the drive has block protection, and not by CRC-32C: it stays off")
			if m, err = d.protection(ctx); err != nil {
				return err
			}
			return d.unprotect(ctx, &m)
		}
		if err != nil && !roundedOff(err) {
			return err
		}
		if m, err = d.protection(ctx); err != nil {
			return err
		}
		if !protects(&m) {
			return d.unprotect(ctx, &m)
		}
	}
	d.guarded = true
	return nil
}

func (d *Drive) protection(ctx context.Context) (lu.Mode, error) {
	m, err := d.u.ModeSense(ctx, lu.Current, lu.PageControl, lu.SubpageProtection)
	if err == nil && len(m.Page) <= protectWhen {
		err = d.fail("MODE SENSE", fmt.Errorf("%w: a page of %d bytes for block protection", dev.ErrNotSupported, len(m.Page)))
	}
	return m, err
}

func protects(m *lu.Mode) bool {
	p := m.Page
	return p[protectMethod] == methodCRC32C && p[protectLength]&0x3F == guard && p[protectWhen]&onBoth == onBoth
}

// unprotect turns protection off if it is on.
func (d *Drive) unprotect(ctx context.Context, m *lu.Mode) error {
	d.guarded = false
	if m.Page[protectMethod] == 0 && m.Page[protectWhen]&onBoth == 0 {
		return nil
	}
	m.Page[protectMethod], m.Page[protectLength] = 0, 0
	m.Page[protectWhen] &^= onBoth
	return d.u.ModeSelect(ctx, m)
}

// setKey gives the drive its key and has it say that the next block is encrypted.
func (d *Drive) setKey(ctx context.Context) error {
	if len(d.opts.Key) == 0 {
		return nil
	}
	const op = "SECURITY PROTOCOL OUT"
	if d.can.security == no {
		return d.fail(op, fmt.Errorf("%w: encryption, and a key is configured for it", dev.ErrNotSupported))
	}
	all, err := d.u.Algorithms(ctx)
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.Code != lu.AES256GCM || !a.Encrypts || a.KeyBytes < lu.KeyBytes {
			continue
		}
		if err := d.u.SetKey(ctx, a.Index, d.opts.Key); err != nil {
			return err
		}
		d.keyed = true
		e, err := d.u.Encryption(ctx)
		if err != nil {
			return err
		}
		if !e.Encrypts || !e.Decrypts || e.Algorithm != a.Index {
			return d.fail(op, fmt.Errorf("%w: the drive took the key and does not encrypt: is encryption managed by the library?", dev.ErrEncryption))
		}
		return nil
	}
	return d.fail(op, fmt.Errorf("%w: AES-256-GCM in the drive, and a key is configured for it", dev.ErrNotSupported))
}

// askMedium asks whether the medium can be written once only.
func (d *Drive) askMedium(ctx context.Context) error {
	d.worm = false
	if d.can.medium == no {
		return nil
	}
	m, err := d.u.ModeSense(ctx, lu.Current, lu.PageMedium, 0)
	if d.can.medium = found(err); err == nil {
		d.worm = len(m.Page) > 2 && m.Page[2]&0x01 != 0
	}
	return nil
}

// restore takes back what this handle has set and other programs do not expect.
func (d *Drive) restore(ctx context.Context) {
	var errs []error
	if d.guarded {
		m, err := d.protection(ctx)
		if err == nil {
			err = d.unprotect(ctx, &m)
		}
		errs = append(errs, err)
	}
	if d.keyed {
		errs = append(errs, d.u.SetKey(ctx, 0, nil))
		d.keyed = false
	}
	d.guarded, d.settled = false, false
	if err := errors.Join(errs...); err != nil {
		d.log.Warn("the drive's parameters could not be set back", "error", err)
	}
}
