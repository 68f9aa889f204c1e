package sim

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/trace"
)

// Who watches is told which resource was tight in each stretch of a transfer, and
// the stretches make up the whole of it.
func TestWatchStretches(t *testing.T) {
	type told struct {
		job      int64
		tight    string
		from, to time.Duration
		bytes    int64
	}
	var got []told
	start := rt.FromStd(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	w := New(Options{Watch: Watch{Stretch: func(s Stretch) {
		got = append(got, told{s.Job.ID, s.Tight, s.From.Sub(start), s.To.Sub(start), s.Bytes})
	}}})
	defer w.Close()
	disk, drive := dev.Resource{Name: "disk", Rate: 100}, dev.Resource{Name: "drive", Rate: 120}
	other := dev.Resource{Name: "other disk", Rate: 1000}
	err := w.Do(w.NewHost("h", pbx.Master), "test", func(ctx context.Context, _ *host.Env) error {
		g, gctx := rt.NewGroup(ctx)
		g.Go(trace.WithJob(gctx, trace.Job{ID: 1}), "first", func(ctx context.Context) error {
			return w.Transfer(ctx, []dev.Resource{disk, drive}, 1000)
		})
		g.Go(trace.WithJob(gctx, trace.Job{ID: 2}), "second", func(ctx context.Context) error {
			if err := rt.Sleep(ctx, 4*time.Second); err != nil {
				return err
			}
			return w.Transfer(ctx, []dev.Resource{other, drive}, 300)
		})
		return g.Wait(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	const s = time.Second
	want := []told{
		{1, "disk", 0, 4 * s, 400},
		{2, "drive", 4 * s, 9 * s, 300}, // they share the drive
		{1, "drive", 4 * s, 9 * s, 300},
		{1, "disk", 9 * s, 12 * s, 300},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(told{})); d != "" {
		t.Error(d)
	}
}
