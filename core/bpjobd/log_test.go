package bpjobd

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/host"
	"capstan/core/job"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/trace"
	"capstan/sim"
	"capstan/sim/store"
)

// domain is a master with bpjobd and job 1, and a media server on which a process of
// the job says things.
func domain(t *testing.T, process func(ctx context.Context, l *Log) error) (w *sim.World, p *sim.Process) {
	t.Helper()
	w = sim.New(sim.Options{Start: rt.Time(time.Hour), Codec: true})
	t.Cleanup(w.Close)
	master, media := w.NewHost("master", pbx.Master), w.NewHost("media", pbx.Media)
	db := store.NewDB(Schemas()...)
	db.CheckValues()
	master.Spawn("master", func(ctx context.Context, env *host.Env) error {
		if _, err := env.Calls.Serve(ctx, Service, New(ctx, db).Mux(ctx, 1)); err != nil {
			return err
		}
		_, err := Add.Call(ctx, pbx.At("master", Service), Added{Job: job.Job{ID: 1, Client: "c"}, Say: []string{"begins"}, Role: "nbjm"})
		if err != nil {
			return err
		}
		return rt.NewEvent(ctx).Wait(ctx)
	})
	p = media.Spawn("bptm", func(ctx context.Context, _ *host.Env) error {
		if err := rt.Sleep(ctx, time.Second); err != nil {
			return err
		}
		ctx = trace.As(ctx, trace.Job{ID: 1, Try: 1}, "bptm")
		return process(ctx, NewLog(ctx, "master"))
	})
	return w, p
}

// shown is job 1's log at a time, each line with the second at which it was said.
func shown(t *testing.T, w *sim.World, at time.Duration, after int64) (lines []string) {
	t.Helper()
	if err := w.Run(at); err != nil {
		t.Fatal(err)
	}
	if err := w.Do(w.Host("master"), "reader", func(ctx context.Context, _ *host.Env) error {
		p, err := ReadLog.Call(ctx, pbx.At("master", Service), LogQuery{Job: 1, After: after})
		for _, l := range p.Lines {
			lines = append(lines, fmt.Sprintf("%d %.1f %s: %s", l.N, l.Time.Sub(rt.Time(time.Hour)).Seconds(), l.Role, l.Text))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return lines
}

// What is said within a second comes together, with the times at which it was said;
// the rest comes when the process flushes its log.
func TestLog(t *testing.T) {
	w, _ := domain(t, func(ctx context.Context, l *Log) error {
		l.Say(ctx, "mounting")
		_ = rt.Sleep(ctx, 400*time.Millisecond)
		l.Say(ctx, "mounted", "positioning")
		_ = rt.Sleep(ctx, 2*time.Second)
		l.Say(ctx, "done")
		l.Flush(ctx)
		return nil
	})
	all := []string{"1 0.0 nbjm: begins", "2 1.0 bptm: mounting", "3 1.4 bptm: mounted", "4 1.4 bptm: positioning", "5 3.4 bptm: done"}
	for _, c := range []struct {
		at   time.Duration
		want []string
	}{{1900 * time.Millisecond, all[:1]}, {2100 * time.Millisecond, all[:4]}, {3500 * time.Millisecond, all}} {
		if d := cmp.Diff(c.want, shown(t, w, c.at, 0)); d != "" {
			t.Errorf("after %v: %s", c.at, d)
		}
	}
	for after := range all { // pages may begin within what came together
		if d := cmp.Diff(all[after:], shown(t, w, 4*time.Second, int64(after))); d != "" {
			t.Errorf("after line %d: %s", after, d)
		}
	}
}

// A process that is killed loses what it said in its last second.
func TestLogOfTheKilled(t *testing.T) {
	w, p := domain(t, func(ctx context.Context, l *Log) error {
		l.Say(ctx, "kept")
		_ = rt.Sleep(ctx, 1500*time.Millisecond)
		l.Say(ctx, "lost")
		return rt.Sleep(ctx, time.Hour)
	})
	w.At(3*time.Second, p.Kill)
	want := []string{"1 0.0 nbjm: begins", "2 1.0 bptm: kept"}
	if d := cmp.Diff(want, shown(t, w, time.Minute, 0)); d != "" {
		t.Error(d)
	}
}

// Many lines come in several calls, and are read by pages.
func TestLongLog(t *testing.T) {
	const n = 5*pageLines/2 + 7
	w, _ := domain(t, func(ctx context.Context, l *Log) error {
		for i := range n {
			l.Say(ctx, fmt.Sprint(i))
		}
		l.Flush(ctx)
		return nil
	})
	pages := 0
	for last := int64(0); last < n+1; pages++ {
		lines := shown(t, w, time.Hour, last)
		if len(lines) == 0 || pages > 3 {
			t.Fatalf("page %d has %d lines after line %d of %d", pages, len(lines), last, n+1)
		}
		for _, l := range lines {
			if last++; last > 1 && l[len(l)-len(fmt.Sprint(last-2)):] != fmt.Sprint(last-2) {
				t.Fatalf("line %d is %q", last, l)
			}
		}
	}
}

// A host on which Capstan is older says its lines with one time for all.
func TestLinesOfOlderHosts(t *testing.T) {
	type lines struct {
		Job   int64    `json:"job"`
		Try   int      `json:"try"`
		Time  rt.Time  `json:"time"`
		Role  string   `json:"role"`
		Texts []string `json:"texts"`
	}
	old := pbx.Declare[lines, struct{}](Service, "AddLines", pbx.Hosts)
	w, _ := domain(t, func(ctx context.Context, _ *Log) error {
		for _, at := range []rt.Time{rt.Time(time.Hour + 500*time.Millisecond), 0} {
			if _, err := old.Call(ctx, pbx.At("master", Service), lines{1, 1, at, "bptm", []string{"mounting", "mounted"}}); err != nil {
				return err
			}
		}
		return nil
	})
	want := []string{"1 0.0 nbjm: begins", "2 0.5 bptm: mounting", "3 0.5 bptm: mounted", "4 1.0 bptm: mounting", "5 1.0 bptm: mounted"}
	if d := cmp.Diff(want, shown(t, w, time.Minute, 0)); d != "" {
		t.Error(d)
	}
}

// A log of version 1 has a record for each line.
func TestOldLog(t *testing.T) {
	v, err := job.Log.Schema().Decode(1, []byte(`{"job":7,"n":3,"try":2,"time":5,"role":"bptm","host":"media","text":"begin writing"}`))
	want := job.Lines{Job: 7, N: 3, Try: 2, Role: "bptm", Host: "media", Said: []job.Said{{Time: 5, Text: "begin writing"}}}
	if d := cmp.Diff(any(want), v); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
}
