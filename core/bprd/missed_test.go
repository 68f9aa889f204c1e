package bprd

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/bpbrm"
	"capstan/core/bptm"
	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/tar"
	"capstan/core/trace"
	"capstan/sim"
)

// A restore in which fewer files came than the catalog has is not a success.
func TestMissed(t *testing.T) {
	for _, c := range []struct {
		files int64
		was   status.Code
		want  status.Code
	}{
		{10, status.OK, status.OK}, {9, status.OK, status.Partial}, {0, status.OK, status.Partial},
		{9, status.Partial, status.Partial}, {0, status.TarError, status.TarError},
	} {
		f := bpbrm.Finished{Status: c.was, Files: c.files}
		if (&Needed{Files: 10}).missed(&f); f.Status != c.want || (f.Detail != "") != (c.was != c.want) {
			t.Errorf("%d of 10 files, status %d: status %d, %q", c.files, c.was, f.Status, f.Detail)
		}
	}
}

// Nothing is said of what is needed before tar has all other names: only then can data
// come.
func TestNamesFirst(t *testing.T) {
	for _, c := range []struct {
		as    map[string]string
		asked time.Duration // 0 is never
		want  status.Code
		at    time.Duration
	}{
		{nil, 0, status.OK, 0},
		{map[string]string{"/a": "/b"}, time.Second, status.OK, time.Second},
		{map[string]string{"/a": "/b"}, 0, status.RestoreFailed, namesTime},
	} {
		w := sim.New(sim.Options{})
		defer w.Close()
		master := w.NewHost("master", pbx.Master)
		err := w.Do(master, "bprd", func(ctx context.Context, env *host.Env) error {
			ctx = trace.As(ctx, trace.Job{ID: 7, Try: 1}, Role)
			r := newRestore(ctx, env, env.Addr, 1, &Needed{
				Job: 7, Server: "media", Request: Request{To: "client"}, Images: make([]NeededImage, 1), As: c.as,
			}, rt.NewEvent(ctx))
			if c.asked > 0 {
				rt.Go(ctx, "tar", func(ctx context.Context) {
					_ = rt.Sleep(ctx, c.asked)
					p, err := r.otherNames(ctx, pbx.Peer{Addr: pbx.ProcessAt("client", tar.Role, 7, 1, 0)}, tar.NamesQuery{})
					if d := cmp.Diff(tar.Names{As: c.as}, p); err != nil || d != "" {
						t.Errorf("names: %v %s", err, d)
					}
				})
			}
			_, err := r.page(ctx, pbx.Peer{Identity: pbx.Identity{Name: "media"}}, bptm.NeededQuery{})
			if got := status.Of(err, status.SystemError); got != c.want || rt.Mono(ctx) != c.at {
				t.Errorf("%+v: status %d after %v, %v", c, got, rt.Mono(ctx), err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
