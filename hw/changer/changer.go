package changer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"capstan/core/dev"
	"capstan/core/scsi"
	lu "capstan/hw/scsi"
)

// Options are what an operator sets for a changer.
type Options struct {
	// Quirks are what the changer does otherwise than others; see [ParseQuirks].
	Quirks Quirks
	// Log gets what is noteworthy; nil is nowhere.
	Log *slog.Logger
}

// Changer is a robot that is driven by SCSI commands. One caller at a time.
type Changer struct {
	u      *lu.Device
	log    *slog.Logger
	kind   lu.Inquiry
	places Assignment
	quirks Quirks
	// dirty says that the changer has told of a mail slot or a magazine that was
	// opened, or of a reset, since the last inventory.
	dirty bool
}

var (
	_ dev.Changer   = (*Changer)(nil)
	_ dev.Rescanner = (*Changer)(nil)
)

// readyTime is how long a library may take to come up: it looks at every slot after a
// power on. It bounds the first command, and what follows a reset.
const readyTime = 5 * time.Minute

// Open makes a changer of a logical unit. It waits while the library comes up, and
// moves nothing. The transport is closed with the changer, or here if it cannot be one.
func Open(ctx context.Context, name string, t scsi.Transport, o Options) (*Changer, error) {
	c := &Changer{u: lu.NewDevice(name, t), log: o.Log, quirks: o.Quirks}
	if c.log == nil {
		c.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	c.log = c.log.With("robot", name)
	c.u.OnAttention = c.attention
	if err := c.open(ctx); err != nil {
		_ = t.Close() // the first error is the one to tell
		return nil, err
	}
	return c, nil
}

func (c *Changer) open(ctx context.Context) (err error) {
	if c.kind, err = c.u.Inquiry(ctx); err != nil {
		return err
	}
	if c.kind.Type != scsi.Changer {
		return c.u.Error("INQUIRY", fmt.Errorf("%w: %s %s is no medium changer (device type %02Xh)", dev.ErrNotSupported, c.kind.Vendor, c.kind.Product, c.kind.Type))
	}
	// A library with an open door says so to every move; it can be asked all the same.
	if err := c.u.AwaitReady(ctx, readyTime); err != nil && !errors.Is(err, dev.ErrOperator) {
		return err
	}
	return c.assign(ctx)
}

// attention judges a unit attention: what is in the elements may be other than before.
func (c *Changer) attention(s *scsi.Sense) {
	c.log.Info("unit attention", "sense", s.String())
	switch s.ASC {
	case 0x28, 0x29, 0x3B, 0x3F: // mail slot or medium, reset, magazine, other elements
		c.dirty = true
	}
}

// assign asks where the elements are.
func (c *Changer) assign(ctx context.Context) error {
	const op = "MODE SENSE"
	b := make([]byte, 255)
	n, err := c.u.Ask(ctx, op, assignmentCDB(len(b)), b)
	if err != nil {
		return err
	}
	m, err := lu.ParseMode(b[:n], false)
	if err == nil {
		c.places, err = ParseAssignment(m.Page)
	}
	if err != nil {
		return c.u.Error(op, err)
	}
	if c.places[dev.DriveElement].Count == 0 {
		return c.u.Error(op, fmt.Errorf("%w: the library says that it has no drives", ErrReply))
	}
	return nil
}

// Name is the robot's configured name.
func (c *Changer) Name() string { return c.u.Name() }

// Inquiry is what the changer says of itself.
func (c *Changer) Inquiry() lu.Inquiry { return c.kind }

// Places are where the elements are.
func (c *Changer) Places() Assignment { return c.places }

// Close closes the transport.
func (c *Changer) Close() error { return c.u.Close() }

// repeat sends a command that may be carried out twice, also after the library has
// become ready again.
func (c *Changer) repeat(ctx context.Context, op string, cmd *scsi.Command) (lu.Reply, error) {
	r, err := c.u.Repeat(ctx, op, cmd)
	if lu.BecomesReady(err) {
		if err = c.u.AwaitReady(ctx, readyTime); err == nil {
			r, err = c.u.Repeat(ctx, op, cmd)
		}
	}
	return r, err
}

// Rescan has the library look at all of its elements, which can take half an hour.
func (c *Changer) Rescan(ctx context.Context) error {
	_, err := c.repeat(ctx, "INITIALIZE ELEMENT STATUS", &scsi.Command{CDB: []byte{scsi.InitializeElementStatus, 0, 0, 0, 0, 0}})
	return err
}

// oldRange is the operation code of INITIALIZE ELEMENT STATUS WITH RANGE of before SMC-2.
const oldRange = 0xE7

// RescanRange has the library look at some of its elements, or at all where it cannot
// be told which.
func (c *Changer) RescanRange(ctx context.Context, r Range) error {
	const op = "INITIALIZE ELEMENT STATUS WITH RANGE"
	for _, code := range []byte{scsi.InitializeElementRange, oldRange} {
		if _, err := c.repeat(ctx, op, &scsi.Command{CDB: rangeCDB(code, r), Timeout: rescanTime}); !refused(err) {
			return err
		}
	}
	return c.Rescan(ctx)
}

// rescanTime is how long a library may look at its elements.
const rescanTime = 30 * time.Minute

// Prevent keeps people from opening the mail slots and magazines, or lets them again.
func (c *Changer) Prevent(ctx context.Context, on bool) error {
	cdb := []byte{scsi.PreventAllowRemoval, 0, 0, 0, 0, 0}
	if on {
		cdb[4] = 1
	}
	_, err := c.repeat(ctx, "PREVENT ALLOW MEDIUM REMOVAL", &scsi.Command{CDB: cdb})
	return err
}

// OpenMailSlots unlocks the mail slots for a person, or locks them.
func (c *Changer) OpenMailSlots(ctx context.Context, open bool) error {
	cdb := []byte{scsi.LoadUnload, 0, 0, 0, 1, 0} // OPEN/CLOSE IMPORT/EXPORT ELEMENT: close
	r := c.places[dev.ImportExport]
	cdb[2], cdb[3] = byte(r.First>>8), byte(r.First)
	if open {
		cdb[4] = 0
	}
	_, err := c.repeat(ctx, "OPEN/CLOSE IMPORT/EXPORT ELEMENT", &scsi.Command{CDB: cdb})
	return err
}
