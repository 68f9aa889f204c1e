package tape

import (
	"bytes"
	"context"
	"testing"

	"pgregory.net/rapid"

	"capstan/core/scsi"
	"capstan/hw/tape/tapetest"
)

// event is one step of a random history: an operation, what disturbs it, and whether
// the drive was reset before.
type event struct {
	op, n     int
	condition int // of conditions; -1 is none
	code      byte
	reset     bool
}

var events = rapid.Custom(func(t *rapid.T) event {
	e := event{op: rapid.IntRange(0, 8).Draw(t, "op"), n: rapid.IntRange(-3, 12).Draw(t, "n"), condition: -1}
	if rapid.IntRange(0, 3).Draw(t, "disturbed") == 0 {
		e.condition = rapid.IntRange(0, len(tapetest.Conditions())-1).Draw(t, "condition")
		e.code = rapid.SampledFrom([]byte{scsi.Write6, scsi.WriteFilemarks6, scsi.Read6, scsi.Space6, scsi.Rewind, scsi.ReadPosition, scsi.Locate16,
			scsi.ModeSense10, scsi.ModeSelect10, scsi.TestUnitReady}).Draw(t, "code")
	}
	e.reset = rapid.IntRange(0, 9).Draw(t, "reset") == 0
	return e
})

// TestHistories lives through random histories of operations, conditions and resets.
// Whatever happens: a drive that thinks it knows its position is there; a block that was
// acknowledged stands where it was counted; and a write that goes through changes nothing
// before it.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		history := rapid.SliceOfN(events, 1, 60).Draw(rt, "history")
		protected := rapid.Bool().Draw(rt, "protected")
		wrong := ""
		with(t, newUnit(), Options{Unprotected: !protected}, func(ctx context.Context, f *fixture) {
			f.want("load", f.d.Load(ctx), nil)
			for i, e := range history {
				if wrong = live(ctx, f, i, e); wrong != "" {
					return
				}
			}
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// live does one step and says what is wrong after it.
func live(ctx context.Context, f *fixture, i int, e event) string {
	u, d := f.u, f.d
	u.faults = nil
	if e.condition >= 0 {
		c := tapetest.Conditions()[e.condition]
		done := c.Dones()
		u.faults = []fault{{code: e.code, sense: c.Sense, status: c.Status, err: c.Err, done: done[e.n&1%len(done)]}}
	}
	if e.reset {
		u.pos, u.block, u.key = 0, 512, nil
		if u.protect != nil {
			clear(u.protect[4:])
		}
		u.attended = append(u.attended, *check(6, 0x29, 0))
	}
	before, data := append([][]byte{}, u.objects...), block(i, 40+i)
	at, wrote := d.at.Block, false
	switch e.op {
	case 0, 1, 2:
		wrote = d.Write(ctx, data) == nil
	case 3:
		_ = d.WriteFilemarks(ctx, 1, e.n > 3)
	case 4:
		_, _ = d.Read(ctx, make([]byte, 300))
	case 5:
		_ = d.Locate(ctx, int64(max(e.n, 0)))
	case 6:
		_ = d.Space(ctx, e.n)
	case 7:
		_, _ = d.Position(ctx)
	case 8:
		_ = d.Rewind(ctx)
	}
	switch {
	case wrote && (int(at) >= len(u.objects) || !bytes.Equal(u.objects[at], data)):
		return "an acknowledged block is not where it was counted"
	case len(u.attended) == 0 && d.known && int(d.at.Block) != u.pos:
		return "the drive is not where it thinks that it is"
	}
	for n := range min(int(at), len(before)) {
		if n >= len(u.objects) || !bytes.Equal(u.objects[n], before[n]) {
			return "what stood before the position is not what it was"
		}
	}
	return ""
}
