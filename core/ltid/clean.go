package ltid

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/dev"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
	"capstan/core/txxcd"
	"capstan/core/txxd"
)

// Cleaning tells whether a barcode is a cleaning cartridge's.
func Cleaning(barcode string) bool { return strings.HasPrefix(barcode, "CLN") }

// The times of a cleaning: LTO drives take some minutes.
const (
	cleanTime = 15 * time.Minute
	cleanPoll = 5 * time.Second
)

// say tells the job, if there is one, and the host's log.
func (s *Server) say(ctx context.Context, d *drive, text string) {
	s.log.Warn("a drive must be looked after", "drive", d.name, "why", text)
	bpjobd.Say(ctx, s.master, fmt.Sprintf("drive %s %s", d.name, text))
}

// cleanLater has a drive cleaned when the request that is being answered is done. The
// next job's mount may come before: then the drive is cleaned after that job.
func (s *Server) cleanLater(ctx context.Context, d *drive) {
	tctx := trace.WithJob(rt.WithoutCancel(ctx), trace.Job{})
	pbx.AfterReply(ctx, func() {
		rt.Go(tctx, "clean", func(ctx context.Context) {
			if err := s.inTurn(ctx, d.name, func(d *drive) error { return s.clean(ctx, d) }); err != nil {
				s.log.Error("the drive could not be cleaned", "drive", d.name, "error", err)
			}
		})
	})
}

// clean cleans an empty drive with a cleaning cartridge of its library.
func (s *Server) clean(ctx context.Context, d *drive) error {
	elements, err := txxcd.Inventory.Call(ctx, pbx.At(d.library.Control, txxcd.Service), d.library.Name)
	if err != nil {
		return err
	}
	barcode := ""
	for _, e := range elements {
		switch {
		case e.Address == d.element && e.Full:
			return nil // the next job's cartridge: after that job
		case e.Kind == dev.Slot && e.Full && Cleaning(e.Barcode) && !s.isSpent(e.Barcode) && barcode == "":
			barcode = e.Barcode
		}
	}
	if barcode == "" {
		return status.Errorf(status.MediaRequest, "drive %s must be cleaned, and library %s has no cleaning cartridge that is good: put one in, with a barcode that begins with CLN", d.name, d.library.Name)
	}
	return s.with(ctx, d, func(dr dev.Drive) error { return s.cleanWith(ctx, d, dr, barcode) })
}

func (s *Server) cleanWith(ctx context.Context, d *drive, dr dev.Drive, barcode string) error {
	s.log.Info("the drive is cleaned", "drive", d.name, "cartridge", barcode)
	if _, err := txxd.MountIt.Call(ctx, pbx.At(s.host, txxd.Service), txxd.Mount{
		Library: d.library.Name, Control: d.library.Control, Barcode: barcode, Element: d.element,
	}); err != nil {
		return err
	}
	if err := s.mark(ctx, d.name, MediaID(barcode)); err != nil { // it counts the uses
		return err
	}
	cleaned := s.wash(ctx, dr)
	if err := s.takeHome(ctx, d, dr); err != nil {
		return err
	}
	if !cleaned {
		s.lock.Lock()
		s.spent[barcode] = true
		s.lock.Unlock()
		return status.Errorf(status.MediaRequest, "drive %s still asks for cleaning after %s: the cartridge is used up or of another kind; take it out", d.name, barcode)
	}
	s.log.Info("the drive has been cleaned", "drive", d.name, "cartridge", barcode)
	return nil
}

// wash has the drive clean itself with the cartridge in it, and tells whether it did.
// Drives begin when the cartridge comes in, or when they are to load it.
func (s *Server) wash(ctx context.Context, dr dev.Drive) bool {
	if err := dr.Load(ctx); err != nil && !errors.Is(err, dev.ErrCleaningCartridge) && !errors.Is(err, dev.ErrNotReady) {
		s.log.Info("a cleaning cartridge in the drive", "drive", dr.Name(), "error", err)
	}
	for end := rt.Mono(ctx) + cleanTime; ; {
		st, err := dr.Status(ctx)
		if err == nil && !st.CleaningNeeded {
			return true
		}
		if rt.Mono(ctx) >= end || rt.Sleep(ctx, cleanPoll) != nil {
			return false
		}
	}
}

func (s *Server) isSpent(barcode string) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.spent[barcode]
}
