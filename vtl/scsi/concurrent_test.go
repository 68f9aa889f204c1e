package target_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/hw/clock"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

// TestInitiatorsAtOnce has several initiators at all units in the real world, with
// a library that takes a little time: what each writes on a drive of its own comes
// back, whatever the others do. The race detector looks on in CI.
func TestInitiatorsAtOnce(t *testing.T) {
	ctx := clock.Context(context.Background(), "test")
	cfg := vtl.Demo("robot", 64<<20, 100000)
	lib, err := vtl.New(ctx, cfg, vtl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tgt := target.New(ctx, lib, target.Options{})
	var group sync.WaitGroup
	for drive := range 2 {
		group.Go(func() {
			ctx := clock.Context(context.Background(), "owner")
			r := &rig{t, ctx, lib, tgt, tgt.Nexus(fmt.Sprintf("owner%d", drive))}
			lun := uint64(drive + 1)
			r.own(lun, vtl.SlotAddress(drive+1), vtl.DriveAddress(drive))
		})
	}
	for i := range 3 {
		group.Go(func() {
			ctx := clock.Context(context.Background(), "guest")
			for k := range 60 {
				n := tgt.Nexus(fmt.Sprintf("guest%d", i))
				for lun := range uint64(4) {
					for _, c := range []string{"12 01 83 00 FF 00", "00 00 00 00 00 00", "03 00 00 00 FF 00", "A0 00 00 00 00 00 00000100 00 00", "1A 00 3F 00 FF 00", "4D 00 52 00 00 00 00 0100 00", "B8 10 0000 FFFF 00 00FFFF 00 00"} {
						if _, err := n.LUN(lun).Do(ctx, &scsi.Command{CDB: cdb(c), In: make([]byte, 4096)}); err != nil {
							t.Errorf("LUN %d, %s: %v", lun, c, err)
						}
					}
				}
				tgt.Inject(target.Injection{Initiator: n.Initiator(), Status: scsi.CheckCondition, Sense: scsi.Sense{Sense: dev.Sense{Key: 3}}})
				if k%10 == 9 {
					if err := n.Lost(ctx); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	if err := lib.Close(ctx); err != nil {
		t.Error(err)
	}
	if _, err := tgt.Nexus("late").LUN(1).Do(ctx, &scsi.Command{CDB: cdb("00 00 00 00 00 00")}); err == nil {
		t.Error("a closed library answers")
	}
}

// own mounts a cartridge, writes and reads blocks.
func (r *rig) own(lun uint64, slot, drive int) {
	r.settle()
	r.want(0, move(slot, drive), nil, 0, good)
	for range 1000 {
		if _, end := r.do(lun, "00 00 00 00 00 00", nil, 0); end == good {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for i := range 50 {
		b := pattern(3000+i, i)
		r.want(lun, write6(len(b)), b, 0, good)
	}
	r.want(lun, "10 00 000001 00", nil, 0, good)
	r.want(lun, "01 01 00 00 00 00", nil, 0, good)
	for i := range 50 {
		b := pattern(3000+i, i)
		if got := r.want(lun, read6(len(b)), nil, len(b), good); !bytes.Equal(got, b) {
			r.t.Errorf("LUN %d: block %d came back otherwise", lun, i)
		}
	}
}
