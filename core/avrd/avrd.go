// Package avrd recognises what is in a drive: after a mount (B10, R12) it reads
// the label and tells ltid which cartridge it is.
package avrd

import (
	"context"
	"errors"

	"capstan/core/dev"
	"capstan/core/media"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
)

// Service is the role's name on a media server.
const Service = "avrd"

// Look asks what is in a drive.
type Look struct {
	Drive string `json:"drive"`
}

// Seen is the answer. A cartridge without data is Blank; one whose first block
// is not ours is neither blank nor labelled.
type Seen struct {
	Blank          bool        `json:"blank"`
	Labelled       bool        `json:"labelled"`
	Label          media.Label `json:"label"`
	WriteProtected bool        `json:"writeProtected"`
	WriteOnce      bool        `json:"writeOnce,omitempty"`
	CleaningNeeded bool        `json:"cleaningNeeded,omitempty"` // of the drive
	Memory         string      `json:"memory,omitempty"`         // the media ID that the cartridge's own memory has
	Density        string      `json:"density"`
}

// LookAt reads the label of what is in a drive, and leaves the drive at the beginning.
var LookAt = pbx.Declare[Look, Seen](Service, "Look", pbx.Media, pbx.Step("B10", "R12"))

// Mux is what the role answers on a media server.
func Mux(ctx context.Context, host string, devices dev.Finder) *pbx.Mux {
	mux := pbx.NewMux(ctx, Service, 0)
	lock := rt.NewLock(ctx)
	var spare []byte // of the last look
	pbx.Handle(mux, LookAt, func(ctx context.Context, from pbx.Peer, q Look) (Seen, error) {
		if from.Name != host { // it rewinds
			return Seen{}, status.Errorf(status.NotAllowed, "%s has no part in the drives of %s", from, host)
		}
		d, err := devices.Drive(ctx, q.Drive)
		if err != nil {
			return Seen{}, status.Errorf(status.MediaOpen, "drive %s: %w", q.Drive, err)
		}
		defer d.Close()
		lock.Lock()
		buf := spare
		spare = nil
		lock.Unlock()
		if buf == nil {
			buf = make([]byte, maxLabel)
		}
		seen, err := look(ctx, d, buf)
		lock.Lock()
		spare = buf
		lock.Unlock()
		return seen, err
	})
	return mux
}

// Application is the name under which media are noted in their own memory.
const Application = "CAPSTAN"

// maxLabel is larger than any label of ours; a longer first block is not one.
const maxLabel = 16 << 10

// look looks at what is in a drive; buf is room for a label.
func look(ctx context.Context, d dev.Drive, buf []byte) (Seen, error) {
	st, err := d.Status(ctx)
	if err != nil {
		return Seen{}, status.Errorf(status.MediaOpen, "status: %w", err)
	}
	seen := Seen{WriteProtected: st.WriteProtected, WriteOnce: st.WriteOnce, CleaningNeeded: st.CleaningNeeded, Density: st.Density}
	if l, ok := d.(dev.Labeller); ok { // only a hint: the tape's label counts
		if app, label, err := l.ReadMemory(ctx); err == nil && app == Application {
			seen.Memory = label
		}
	}
	// A drive that asks to be cleaned has done what it was told.
	done := func(err error) error {
		if errors.Is(err, dev.ErrCleaning) {
			seen.CleaningNeeded, err = true, nil
		}
		return err
	}
	if err := done(d.Rewind(ctx)); err != nil {
		return seen, status.Errorf(status.MediaPosition, "rewinding: %w", err)
	}
	n, err := d.Read(ctx, buf)
	switch err = done(err); {
	case errors.Is(err, dev.ErrEndOfData):
		seen.Blank = true
	case errors.Is(err, dev.ErrFilemark), errors.Is(err, dev.ErrBlockTooLong):
		// Something is on it, and it is not ours.
	case err != nil:
		return seen, status.Errorf(status.BadMediaHeader, "reading the label: %w", err)
	default:
		if l, err := media.DecodeLabel(buf[:n]); err == nil {
			seen.Labelled, seen.Label = true, l
		}
	}
	if err := done(d.Rewind(ctx)); err != nil {
		return seen, status.Errorf(status.MediaPosition, "rewinding: %w", err)
	}
	return seen, nil
}
