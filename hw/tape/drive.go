package tape

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/scsi"
	lu "capstan/hw/scsi"
)

// Options are what an operator sets for a drive.
type Options struct {
	// Compress turns the drive's compression on. It is turned off otherwise.
	Compress bool
	// Key encrypts what is written, with AES-256-GCM in the drive: 32 bytes, or none.
	Key []byte
	// Unprotected leaves logical block protection off in a drive that has it.
	Unprotected bool
	// LockDir is where the locks stand that keep processes of one host apart, who
	// reach the drive by the same path and so are one to it. "" is none.
	LockDir string
	// Log gets what is noteworthy; nil is nowhere.
	Log *slog.Logger
}

// Drive is a tape drive that is driven by SCSI commands. One caller at a time.
type Drive struct {
	u    *lu.Device
	opts Options
	log  *slog.Logger
	kind lu.Inquiry
	can  features

	at      dev.Position
	known   bool    // at counts
	filed   bool    // at.File counts
	changed bool    // the medium may be another since Load or Rewind
	losses  int     // counts what made the position unknown
	marks   []int64 // logical object numbers of the filemarks seen before at
	marked  bool    // marks are all that come before at

	settled  bool // the parameters for data are set
	guarded  bool // logical block protection is on
	keyed    bool // this handle has given the drive its key
	worm     bool
	end      bool   // the position is the end of data
	dirty    bool   // written since the last filemark that was not immediate
	writing  bool   // nothing but writes since the position was confirmed
	maxBlock int    // of the drive
	maxMoved int    // bytes that the host adapter carries in a command
	buf      []byte // for a block with its protection

	holder string // of the reservation that this handle took
	lock   *lock
	taken  bool // the reservation was taken away
	unheld bool // a reset ended the reservation
	// last is the context of the last command, for those that Close sends.
	last context.Context
}

var _ dev.Drive = (*Drive)(nil)

// transferLimiter is a transport that carries no more than so many bytes.
type transferLimiter interface{ MaxTransfer() int }

// largestBlock is what the 24 bits of a transfer length hold.
const largestBlock = 1<<24 - 1

// Open makes a drive of a logical unit. It asks the unit what it is and can, and where
// it is if a medium is loaded; it moves nothing. The transport is closed with the
// drive, or here if it cannot be one.
func Open(ctx context.Context, name string, t scsi.Transport, o Options) (*Drive, error) {
	d := &Drive{u: lu.NewDevice(name, t), opts: o, log: o.Log, maxBlock: largestBlock, maxMoved: largestBlock}
	if d.log == nil {
		d.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	d.log = d.log.With("drive", name)
	d.u.OnAttention = d.attention
	if err := d.open(ctx); err != nil {
		_ = t.Close() // the first error is the one to tell
		return nil, err
	}
	return d, nil
}

func (d *Drive) open(ctx context.Context) error {
	if k := len(d.opts.Key); k != 0 && k != lu.KeyBytes {
		return fmt.Errorf("drive %s: the encryption key has %d bytes: give %d", d.Name(), k, lu.KeyBytes)
	}
	kind, err := d.u.Inquiry(ctx)
	if err != nil {
		return err
	}
	if kind.Type != scsi.Sequential {
		return d.u.Error("INQUIRY", fmt.Errorf("%w: %s %s is no tape drive (device type %02Xh)", dev.ErrNotSupported, kind.Vendor, kind.Product, kind.Type))
	}
	d.kind = kind
	ready := d.u.Drain(ctx)
	d.learn(ctx)
	if ready != nil {
		return nil // whoever uses it is told why
	}
	// A position that another handle had is not lost by what happened before this one
	// was opened; but after a reset nobody has said yet where to go on.
	lost := d.losses > 0
	if p, err := d.ask(ctx); err == nil && !lost {
		d.arrive(p)
	}
	d.changed, d.taken = false, false
	return nil
}

// Name is the drive's configured name.
func (d *Drive) Name() string { return d.u.Name() }

// Close leaves the drive as other programs expect it, without block protection and
// without a key, and lets go of it. Reservation, position and medium stay.
func (d *Drive) Close() error {
	if d.last != nil {
		d.restore(rt.WithoutCancel(d.last))
	}
	return d.u.Close()
}

// attention judges a unit attention: what it has made untrue (SPC-5 table 52).
func (d *Drive) attention(s *scsi.Sense) {
	d.log.Info("unit attention", "sense", s.String())
	switch s.ASC {
	case 0x28: // the medium may have changed
		d.changed, d.settled = true, false
		d.lose()
	case 0x29: // power on, reset: parameters, key and reservation are gone too
		d.settled, d.keyed = false, false
		d.unheld = d.holder != ""
		d.lose()
	case 0x2A:
		switch s.ASCQ {
		case 0x03, 0x04, 0x05: // reservations or registrations preempted or released
			d.taken = true
			d.lose()
		case 0x10, 0x02: // timestamp, log parameters
		default: // mode parameters, encryption parameters
			d.settled = false
		}
	case 0x5B, 0x5D, 0x37: // log thresholds, failure predicted, rounded parameter
	default:
		d.settled = false
		d.lose()
	}
}

// harmless tells whether a unit attention changes nothing for a command that is sent
// again after the parameters were set anew.
func harmless(s *scsi.Sense) bool {
	if s.Key != scsi.UnitAttention {
		return false
	}
	switch s.ASC {
	case 0x2A:
		return s.ASCQ == 0x01 || s.ASCQ == 0x02 || s.ASCQ == 0x10 || s.ASCQ == 0x14
	case 0x5B, 0x5D, 0x37:
		return true
	}
	return false
}
