package bprd

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/bpbrm"
	"capstan/core/bpdbm"
	"capstan/core/bptm"
	"capstan/core/catalog"
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

// What bptm is told of an image comes in messages, however many entries are hollow.
func TestPagesOfWhatIsNeeded(t *testing.T) {
	im := NeededImage{BackupID: "c_1", Ranges: make([]bpdbm.Range, pageRanges+1)}
	for i := range int64(20_000) {
		im.Hollow = append(im.Hollow, catalog.Entry{Path: fmt.Sprintf("/a/%0100d", i), Size: 1 << 40, Offset: i << 40, DataLen: 1 << 40, Count: 1 << 20})
	}
	w := sim.New(sim.Options{})
	defer w.Close()
	master := w.NewHost("master", pbx.Master)
	if err := w.Do(master, "bprd", func(ctx context.Context, env *host.Env) error {
		ctx = trace.As(ctx, trace.Job{ID: 7, Try: 1}, Role)
		r := newRestore(ctx, env, env.Addr, 1, &Needed{Job: 7, Server: "media", Images: []NeededImage{im}}, rt.NewEvent(ctx))
		from, got := pbx.Peer{Identity: pbx.Identity{Name: "media"}}, NeededImage{BackupID: "c_1"}
		for more := true; more; {
			p, err := r.page(ctx, from, bptm.NeededQuery{From: len(got.Ranges), FromHollow: len(got.Hollow)})
			if err != nil {
				return err
			}
			if _, err := pbx.Encode(p); err != nil {
				return err
			}
			got.Ranges, got.Hollow, more = append(got.Ranges, p.Ranges...), append(got.Hollow, p.Hollow...), p.More
		}
		if d := cmp.Diff(im, got); d != "" {
			t.Errorf("%d of %d ranges and %d of %d hollow entries come", len(got.Ranges), len(im.Ranges), len(got.Hollow), len(im.Hollow))
		}
		for _, q := range []bptm.NeededQuery{{From: -1}, {From: pageRanges + 2}, {FromHollow: -1}, {FromHollow: len(im.Hollow) + 1}, {Image: 1}} {
			if _, err := r.page(ctx, from, q); status.Of(err, status.OK) != status.BadParameter {
				t.Errorf("%+v is not refused: %v", q, err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
