package virtual

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/job"
	"capstan/core/ltid"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/hw/changer"
	"capstan/hw/tape"
	"capstan/sim"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

// bySCSI is a domain whose media server drives its library as it would one of
// hardware: by SCSI commands, to the virtual library's target. Its drives are
// configured in another order than they stand in, and found by their serial numbers.
func bySCSI(cfg Config) Config {
	l := &cfg.Libraries[0]
	l.Driver = func(ctx context.Context, lib *vtl.Library, server string) dev.Finder {
		t := target.New(ctx, lib, target.Options{EjectFirst: true})
		return &initiator{t, t.Nexus(server)}
	}
	l.Places = map[string]ltid.Place{}
	names := driveNames(&l.Config)
	for i, name := range names {
		l.Places[name] = ltid.Place{Serial: "VTL" + l.Config.Name + []string{"001", "002", "003", "004"}[len(names)-1-i]}
	}
	return cfg
}

// initiator gives the devices of a target by its host's nexus.
type initiator struct {
	target *target.Target
	nexus  *target.Nexus
}

// Drive opens the drive that has the name's serial number: the drives' own names in
// the library are in the order opposite to the configuration's.
func (i *initiator) Drive(ctx context.Context, name string) (dev.Drive, error) {
	units := i.target.Units()[1:]
	for n, u := range units {
		if u.Name == name {
			d, err := tape.Open(ctx, name, i.nexus.LUN(units[len(units)-1-n].LUN), tape.Options{})
			if err != nil {
				return nil, err
			}
			return d, nil
		}
	}
	return nil, &dev.Error{Device: name, Op: "open", Err: dev.ErrGone}
}

func (i *initiator) Changer(ctx context.Context, name string) (dev.Changer, error) {
	c, err := changer.Open(ctx, name, i.nexus.LUN(0), changer.Options{})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// A drive that asks for cleaning is cleaned after the job, if the library has a
// cleaning cartridge; the use is counted. The job's log says it either way.
func TestCleaning(t *testing.T) {
	for _, there := range []bool{true, false} {
		t.Run(fmt.Sprintf("cleaning cartridge %v", there), func(t *testing.T) {
			cfg := bySCSI(small())
			if there {
				cartridges := &cfg.Libraries[0].Config.Cartridges
				*cartridges = append(*cartridges, vtl.CartridgeConfig{Barcode: "CLN001L9", Slot: 9})
			}
			w, err := New(cfg, sim.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
				if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
					return err
				}
				lib := w.Library("media1")
				lib.Inject(dev.Fault{Op: dev.OpWrite, Err: dev.ErrCleaning})
				b, err := backupOnce(ctx, "docs")
				if err != nil || b.Status != status.OK {
					t.Errorf("backup: %v, status %d, %s", err, b.Status, b.Detail)
					return err
				}
				if err := rt.Sleep(ctx, 30*time.Minute); err != nil {
					return err
				}
				log, err := bpjobd.ReadLog.Call(ctx, pbx.At("master", bpjobd.Service), bpjobd.LogQuery{Job: b.ID})
				if err != nil {
					return err
				}
				if !slices.ContainsFunc(log.Lines, func(l job.Line) bool { return strings.Contains(l.Text, "must be cleaned") }) {
					t.Errorf("the job's log does not say that the drive must be cleaned: %v", log.Lines)
				}
				list, err := nbemm.Show.Call(ctx, pbx.At("master", nbemm.Service), struct{}{})
				if err != nil {
					return err
				}
				uses := 0
				for _, m := range list.Media {
					if m.Pool == nbemm.CleaningPool {
						uses += m.Mounts
					}
				}
				if want := map[bool]int{true: 1}[there]; uses != want {
					t.Errorf("the cleaning cartridge was used %d times; want %d", uses, want)
				}
				for _, d := range list.Drives {
					if d.Media != "" {
						t.Errorf("drive %s has %s in it", d.Name, d.Media)
					}
				}
				b, err = backupOnce(ctx, "docs")
				if err != nil || b.Status != status.OK {
					t.Errorf("the next backup: %v, status %d, %s", err, b.Status, b.Detail)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
