package virtual

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/host"
	"capstan/core/ltid"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/sim"
	"capstan/vtl"
)

// A cartridge goes out and another comes in by the mail slot, and the master knows;
// with the robot reached directly, and by SCSI commands.
func TestMailSlots(t *testing.T) {
	for name, cfg := range map[string]Config{"directly": small(), "by SCSI commands": bySCSI(small())} {
		t.Run(name, func(t *testing.T) {
			w, err := New(cfg, sim.Options{Codec: true})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
				if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
					return err
				}
				mailSlots(ctx, t, w)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func mailSlots(ctx context.Context, t *testing.T, w *World) {
	at := pbx.At("media1", ltid.Service)
	library := func() string {
		l, err := nbemm.Show.Call(ctx, pbx.At("master", nbemm.Service), struct{}{})
		if err != nil {
			t.Error(err)
		}
		for _, m := range l.Media {
			if m.ID == "CAP003" {
				return m.Library
			}
		}
		return "unknown"
	}
	slot, err := ltid.Export.Call(ctx, at, ltid.Cartridge{Library: "tld0", Media: "CAP003"})
	if err != nil || slot != vtl.FirstImportExport || library() != "" {
		t.Errorf("export: slot %d, %v, then in library %q", slot, err, library())
	}
	if again, err := ltid.Export.Call(ctx, at, ltid.Cartridge{Library: "tld0", Media: "CAP003"}); err != nil || again != slot {
		t.Errorf("export of what is in the slot: %d, %v", again, err)
	}
	if _, err := ltid.Export.Call(ctx, at, ltid.Cartridge{Library: "tld0", Media: "CAP004"}); status.Of(err, 0) != status.MediaRequest {
		t.Errorf("export without a free mail slot: %v", err)
	}
	if _, err := ltid.Export.Call(ctx, at, ltid.Cartridge{Library: "tld0", Media: "CAP999"}); status.Of(err, 0) != status.MediaMisplaced {
		t.Errorf("export of what is not there: %v", err)
	}
	lib := w.Library("media1")
	if barcode, err := lib.TakeOut(ctx, slot); err != nil || barcode != "CAP003L9" {
		t.Errorf("taken out: %s, %v", barcode, err)
	}
	if err := lib.PutIn(ctx, "CAP003L9", slot); err != nil {
		t.Error(err)
	}
	if _, err := ltid.TakeInventory.Call(ctx, at, ltid.Inventory{Library: "tld0", Rescan: true}); err != nil || library() != "" {
		t.Errorf("inventory: %v, in library %q", err, library())
	}
	taken, err := ltid.Import.Call(ctx, at, "tld0")
	if d := cmp.Diff([]string{"CAP003L9"}, taken); d != "" || err != nil || library() != "tld0" {
		t.Errorf("import: %v, in library %q (-want +got):\n%s", err, library(), d)
	}
	if _, err := ltid.TakeInventory.Call(ctx, at, ltid.Inventory{Library: "elsewhere"}); status.Of(err, 0) != status.BadParameter {
		t.Errorf("inventory of no library: %v", err)
	}
}
