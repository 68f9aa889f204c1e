package sim

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
)

// transfer is one to make at a time; ends is when it shall end.
type transfer struct {
	at    time.Duration
	via   []dev.Resource
	bytes int64
	ends  time.Duration
}

func runTransfers(t *testing.T, ts []transfer) (ends []time.Duration) {
	w := New(Options{})
	defer w.Close()
	ends = make([]time.Duration, len(ts))
	err := w.Do(w.NewHost("h", pbx.Master), "test", func(ctx context.Context, _ *host.Env) error {
		g, gctx := rt.NewGroup(ctx)
		for i, tr := range ts {
			g.Go(gctx, "transfer", func(ctx context.Context) error {
				if err := rt.Sleep(ctx, tr.at); err != nil {
					return err
				}
				err := w.Transfer(ctx, tr.via, tr.bytes)
				ends[i] = rt.Mono(ctx)
				return err
			})
		}
		return g.Wait(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(w.flows.resources); n != 0 {
		t.Errorf("%d resources are still crossed", n)
	}
	return ends
}

func TestTransfer(t *testing.T) {
	r := func(name string, rate int64) dev.Resource { return dev.Resource{Name: name, Rate: rate} }
	disk, drive, link, free := r("disk", 100), r("drive", 300), r("link", 150), r("free", 0)
	all := func(rs ...dev.Resource) []dev.Resource { return rs }
	const s = time.Second
	for _, c := range []struct {
		name string
		ts   []transfer
	}{
		{"the slowest resource decides", []transfer{{0, all(drive, disk, link, free), 1000, 10 * s}}},
		{"nothing to cross", []transfer{{0, nil, 1000, 0}, {s, all(free), 1000, s}}},
		{"nothing to move", []transfer{{0, all(disk), 0, 0}}},
		{"a resource named twice is crossed once", []transfer{{0, all(disk, disk), 1000, 10 * s}}},
		{"two share", []transfer{{0, all(disk), 1000, 20 * s}, {0, all(disk), 1000, 20 * s}}},
		// Alone for 5 s, shared for 10 s, alone for 5 s.
		{"one comes and goes", []transfer{{0, all(disk), 1500, 20 * s}, {5 * s, all(disk), 500, 15 * s}}},
		// disk gives its 100 to a; b gets the rest of the link's 150, not half of it.
		{"what one cannot use the other gets", []transfer{{0, all(r("slow", 30), link), 300, 10 * s}, {0, all(link), 1200, 10 * s}}},
		{"one cannot have more than a stream gets", []transfer{{0, all(dev.Resource{Name: "link", Rate: 150, Stream: 40}), 400, 10 * s}}},
		{"also where there is no other limit", []transfer{{0, all(dev.Resource{Name: "link", Stream: 40}), 400, 10 * s}}},
		// Two streams of 40 leave 70 of the 150 to the third.
		{"what a stream cannot use others get", []transfer{
			{0, all(dev.Resource{Name: "link", Rate: 150, Stream: 40}), 400, 10 * s}, {0, all(dev.Resource{Name: "link", Rate: 150, Stream: 40}), 400, 10 * s}, {0, all(link), 700, 10 * s},
		}},
		// Three share the link before the limit of a stream counts.
		{"a limit above the fair share is none", []transfer{
			{0, all(dev.Resource{Name: "link", Rate: 150, Stream: 90}), 500, 10 * s}, {0, all(link), 500, 10 * s}, {0, all(link), 500, 10 * s},
		}},
		{"whom two do not share with is not touched", []transfer{{0, all(disk), 1000, 10 * s}, {0, all(drive), 3000, 10 * s}}},
		{"a long time is rounded up to the next nanosecond", []transfer{{0, all(r("odd", 3)), 1, 333333334}}},
		{"a petabyte", []transfer{{0, all(r("fast", 1_000_000_000)), 1_000_000_000_000_000, 1_000_000 * s}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want []time.Duration
			for _, tr := range c.ts {
				want = append(want, tr.ends)
			}
			if d := cmp.Diff(want, runTransfers(t, c.ts)); d != "" {
				t.Errorf("ends (-want +got):\n%s", d)
			}
		})
	}
}

// A transfer takes as many events for a byte as for a petabyte, alone or beside another.
func TestTransferCostsTheSameForAnyBytes(t *testing.T) {
	events := func(bytes int64) uint64 {
		w := New(Options{})
		defer w.Close()
		for i := range 2 {
			w.NewHost(string(rune('a'+i)), pbx.Client).Spawn("mover", func(ctx context.Context, _ *host.Env) error {
				return w.Transfer(ctx, []dev.Resource{{Name: "link", Rate: 1_000_000_000, Stream: 700_000_000}}, bytes<<i)
			})
		}
		if err := w.Drain(); err != nil {
			t.Fatal(err)
		}
		return w.seq
	}
	if small, large := events(1_000), events(1_000_000_000_000_000); small != large {
		t.Errorf("%d events for kilobytes, %d for petabytes", small, large)
	}
}

// However transfers come and go, one resource moves its rate, not more and, while
// there is something to move, not less.
func TestTransferConservesWork(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		const rate = 1_000_000
		var ts []transfer
		var bytes int64
		for range rapid.IntRange(1, 12).Draw(r, "transfers") {
			tr := transfer{
				at:    time.Duration(rapid.IntRange(0, 900).Draw(r, "ms")) * time.Millisecond,
				via:   []dev.Resource{{Name: "disk", Rate: rate}},
				bytes: int64(rapid.IntRange(1_000_000, 3_000_000).Draw(r, "bytes")),
			}
			bytes += tr.bytes
			ts = append(ts, tr)
		}
		ts[0].at = 0 // lasts until all others have come: the disk is never idle
		var last time.Duration
		for _, end := range runTransfers(t, ts) {
			last = max(last, end)
		}
		// Shares are whole bytes a second: less than one is lost for each transfer.
		least := time.Duration(bytes) * time.Second / rate
		if last < least || last > least+least/10_000 {
			r.Errorf("%d bytes took %v, at %d bytes a second at least %v", bytes, last, rate, least)
		}
	})
}

func TestTransferEndsWithItsContextOrProcess(t *testing.T) {
	w := New(Options{})
	defer w.Close()
	h := w.NewHost("h", pbx.Master)
	disk := []dev.Resource{{Name: "disk", Rate: 100}}
	h.Spawn("victim", func(ctx context.Context, _ *host.Env) error { return w.Transfer(ctx, disk, 1<<40) })
	w.At(10*time.Second, func() { w.Kill("h/victim") })
	do(t, w, h, func(ctx context.Context, _ *host.Env) error {
		tctx, cancel := rt.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		rt.Go(tctx, "gives up", func(ctx context.Context) {
			if w.Transfer(ctx, disk, 1<<40) == nil {
				t.Error("a transfer under a context that ended was made")
			}
		})
		// A third of 100 for 5 s, half for 5 s, then all of it.
		err := w.Transfer(ctx, disk, 165+250+1000)
		if got := rt.Mono(ctx); got < 20*time.Second || got > 20*time.Second+20*time.Millisecond {
			t.Errorf("the transfer ended at %v, want 20 s", got)
		}
		return err
	})
}

func BenchmarkTransfer(b *testing.B) {
	w := New(Options{NoHash: true})
	defer w.Close()
	b.ReportAllocs()
	err := w.Do(w.NewHost("h", pbx.Master), "bench", func(ctx context.Context, _ *host.Env) error {
		left := b.N
		g, gctx := rt.NewGroup(ctx)
		for i := range 20 {
			via := []dev.Resource{{Name: string(rune('a' + i)), Rate: 1000 + int64(i)}, {Name: "link", Rate: 12345}}
			g.Go(gctx, "transfers", func(ctx context.Context) error {
				for ; left > 0; left-- {
					if err := w.Transfer(ctx, via, 1000+int64(left%777)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		return g.Wait(ctx)
	})
	if err != nil {
		b.Fatal(err)
	}
}
