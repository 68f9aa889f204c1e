package virtual

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"capstan/core/bprd"
	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/status"
)

// filled is a small domain whose client has the files that allBack looks for.
func filled() Config {
	cfg := small()
	cfg.Hosts[2].Fill = spanning().Hosts[2].Fill
	return cfg
}

// allBack checks that every file was restored as it was backed up.
func allBack(t *testing.T, w *World) {
	t.Helper()
	for i := range spanFiles {
		got, err := w.Files("client1").ReadFile(fmt.Sprintf("/restored/data/%02d/file", i))
		if err != nil || !bytes.Equal(got, content(i, spanSize)) {
			t.Errorf("file %d: %v, %d bytes that are not those backed up", i, err, len(got))
		}
	}
}

// A drive that asks to be cleaned has done what it was told: the job goes on, and its
// log says so.
func TestCleaningRequested(t *testing.T) {
	for _, op := range []string{dev.OpLoad, dev.OpRewind, dev.OpWrite, dev.OpFilemarks, dev.OpPosition} {
		t.Run(op, func(t *testing.T) {
			inWorld(t, filled(), func(ctx context.Context, w *World) error {
				lib := w.Library("media1")
				lib.Inject(dev.Fault{Op: op, Err: dev.ErrCleaning})
				b, err := backupOnce(ctx, "docs")
				ended(t, b, err, status.OK)
				says(ctx, t, b.ID, "asks to be cleaned")
				says(ctx, t, b.ID, "TapeAlert 14h: the drive must be cleaned now")
				lib.Inject(dev.Fault{Op: dev.OpRead, Skip: 2, Err: dev.ErrCleaning})
				r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/restored"})
				ended(t, r, err, status.OK)
				allBack(t, w)
				return nil
			})
		})
	}
}

// Programmable early warning ends the cartridge as early warning does. With a filemark
// it only tells that the mark is written.
func TestProgrammableWarning(t *testing.T) {
	inWorld(t, filled(), func(ctx context.Context, w *World) error {
		w.Library("media1").Inject(dev.Fault{Op: dev.OpFilemarks, Skip: 1, Err: dev.ErrProgrammableWarning})
		b, err := backupOnce(ctx, "docs")
		ended(t, b, err, status.OK)
		r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/restored"})
		ended(t, r, err, status.OK)
		allBack(t, w)
		return nil
	})
	inWorld(t, spanning(), func(ctx context.Context, w *World) error {
		w.Library("media1").Inject(dev.Fault{Op: dev.OpWrite, Skip: 5, Err: dev.ErrProgrammableWarning})
		b, err := backupOnce(ctx, "docs")
		ended(t, b, err, status.OK)
		says(ctx, t, b.ID, "is full")
		return nil
	})
}

// Whatever else a drive says while it is written to, the job fails, the cartridge's
// images stay, and the next job works.
func TestDriveConditions(t *testing.T) {
	for _, c := range []error{
		dev.ErrMediumChanged, dev.ErrPositionLost, dev.ErrAttention, dev.ErrEncryption, dev.ErrProtection, dev.ErrAborted, dev.ErrHardware,
		dev.ErrNotReady, dev.ErrNotLoaded, dev.ErrWriteProtected, dev.ErrReservation, dev.ErrNotSupported, dev.ErrGone,
	} {
		t.Run(c.Error(), func(t *testing.T) {
			inWorld(t, filled(), func(ctx context.Context, w *World) error {
				b, err := backupOnce(ctx, "docs")
				ended(t, b, err, status.OK)
				lib := w.Library("media1")
				lib.Inject(dev.Fault{Op: dev.OpWrite, Skip: 1, Times: -1, Err: c})
				b, err = backupOnce(ctx, "docs")
				if err != nil || b.Status == status.OK || b.Status == status.Partial {
					t.Errorf("a backup whose drive says %q: status %d, %v", c, b.Status, err)
				}
				lib.ClearFaults()
				if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
					return err
				}
				b, err = backupOnce(ctx, "docs")
				ended(t, b, err, status.OK)
				r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/restored"})
				ended(t, r, err, status.OK)
				allBack(t, w)
				return nil
			})
		})
	}
}

// A new cartridge of LTO-9 is measured at its first load: the job waits for it, by SCSI
// commands too, and the next job does not.
func TestNewCartridge(t *testing.T) {
	for _, tt := range []struct {
		name string
		by   func(Config) Config
	}{{"directly", func(c Config) Config { return c }}, {"by SCSI", bySCSI}} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := filled()
			l := &cfg.Libraries[0].Config
			for i := range l.Cartridges {
				l.Cartridges[i].Initialized = false
			}
			inWorld(t, tt.by(cfg), func(ctx context.Context, w *World) error {
				backup := func() time.Duration {
					begin := rt.Mono(ctx)
					b, err := backupOnce(ctx, "docs")
					ended(t, b, err, status.OK)
					return rt.Mono(ctx) - begin
				}
				if took := backup(); took < 15*time.Minute || took > 125*time.Minute {
					t.Errorf("the first backup took %v", took)
				}
				if took := backup(); took > 10*time.Minute {
					t.Errorf("the second backup took %v", took)
				}
				_, drives := w.Stats()
				if n := drives[0].Calibrations + drives[1].Calibrations; n != 1 {
					t.Errorf("%d calibrations", n)
				}
				return nil
			})
		})
	}
}
