package ltid

import (
	"context"
	"time"

	"capstan/core/dev"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/trace"
)

// kept is what is known of a cartridge that stays in a drive after its use. It lives
// in memory alone: what a restart finds in a drive goes home.
type kept struct {
	barcode string // that was made ready in the drive
	idle    bool   // no job has the drive
	uses    int64  // how often a job has begun to use the drive
}

// inUse notes that a job begins to use a drive.
func (s *Server) inUse(d *drive) {
	s.lock.Lock()
	d.idle = false
	d.uses++
	s.lock.Unlock()
}

// holds notes what has been made ready in a drive; "" is nothing.
func (s *Server) holds(d *drive, barcode string) {
	s.lock.Lock()
	d.barcode, d.idle = barcode, false
	s.lock.Unlock()
}

// keeps tells whether a drive holds a cartridge, and whether no job has it.
func (s *Server) keeps(d *drive, barcode string) (there, idle bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	there = d.barcode == barcode && barcode != ""
	return there, there && d.idle
}

// keep leaves the cartridge in the drive if the policy says so, and has it taken home
// when its time is over unless a job has used the drive meanwhile.
func (s *Server) keep(ctx context.Context, d *drive) bool {
	stays, delay := d.library.Dismount.Stays()
	if !stays || d.barcode == "" {
		return false
	}
	s.lock.Lock()
	d.idle = true
	uses := d.uses
	s.lock.Unlock()
	if delay > 0 {
		tctx := trace.WithJob(rt.WithoutCancel(ctx), trace.Job{})
		pbx.AfterReply(ctx, func() {
			rt.Go(tctx, "dismount "+d.name, func(ctx context.Context) { s.dismountLater(ctx, d, uses, delay) })
		})
	}
	return true
}

func (s *Server) dismountLater(ctx context.Context, d *drive, uses int64, delay time.Duration) {
	if rt.Sleep(ctx, delay) != nil {
		return
	}
	err := s.inTurn(ctx, d.name, func(d *drive) error {
		s.lock.Lock()
		due := d.idle && d.uses == uses
		s.lock.Unlock()
		if !due {
			return nil
		}
		return s.goHome(ctx, d)
	})
	if err != nil {
		s.log.Error("the cartridge stays in the drive, from which it was to go home", "drive", d.name, "error", err)
	}
}

// freeElsewhere takes a cartridge home that is to be mounted and stays in another
// drive, of this host or of another: its job has, or keeps, this one. It waits for a mount that is about to
// eject the cartridge there; no turn is held meanwhile, so that two such mounts do not wait for each other.
func (s *Server) freeElsewhere(ctx context.Context, q Mount) error {
	for i := range s.libraries {
		for _, name := range s.libraries[i].Drives {
			d := s.drives[name]
			if there, _ := s.keeps(d, q.Barcode); !there || name == q.Drive {
				continue
			}
			if err := s.inTurn(ctx, name, func(d *drive) error {
				if _, idle := s.keeps(d, q.Barcode); !idle {
					return nil // gone, or a job's
				}
				return s.goHome(ctx, d)
			}); err != nil {
				return err
			}
		}
	}
	if q.From == "" || q.From == s.host {
		return nil
	}
	_, err := Dismount.Call(ctx, pbx.At(q.From, Service), q.Barcode)
	return err
}

// goHome has what stays in a drive taken home.
func (s *Server) goHome(ctx context.Context, d *drive) error {
	return traced(ctx, trace.Unmounted, d.name, "", func() error {
		return s.with(ctx, d, func(dr dev.Drive) error { return s.takeHome(ctx, d, dr) })
	})
}
