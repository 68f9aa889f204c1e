package virtual

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"capstan/core/archive"
	"capstan/core/bpdbm"
	"capstan/core/bprd"
	"capstan/core/bprestore"
	"capstan/core/dismount"
	"capstan/core/host"
	"capstan/core/job"
	"capstan/core/nbjm"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/sim"
	simtree "capstan/sim/tree"
)

// content is the bytes of file i, of size n: none like another.
func content(i, n int) []byte {
	b := make([]byte, n)
	for k := range b {
		b[k] = byte(k*7 + k>>8 + i*131)
	}
	return b
}

const (
	spanFiles = 30
	spanSize  = 1_000_003
)

// spanning is the small domain with cartridges of 20 MB and 51 MB of files, one
// of which is longer than a cartridge.
func spanning() Config {
	cfg := small()
	l := &cfg.Libraries[0].Config
	for i := range l.Cartridges {
		l.Cartridges[i].Capacity, l.Cartridges[i].Reserve = 20<<20, 1<<20
	}
	cfg.Domain.Units[0].FragmentSize = 3 << 20
	cfg.Domain.Units[1].FragmentSize = 3 << 20
	cfg.Hosts[2].Fill = func(ctx context.Context, fs *simtree.FS) error {
		for i := range spanFiles {
			if err := fs.WriteFile(ctx, fmt.Sprintf("/data/%02d/file", i), content(i, spanSize)); err != nil {
				return err
			}
		}
		return fs.WriteFile(ctx, "/data/big", content(99, 21<<20))
	}
	return cfg
}

func restoreOnce(ctx context.Context, q bprd.Request) (job.Job, error) {
	id, err := bprestore.Ask(ctx, "master", q)
	if err != nil {
		return job.Job{}, err
	}
	return runJob(ctx, "master", id)
}

// An image that spans cartridges comes back byte for byte, whole and in part,
// and the next backup is appended to the last cartridge.
func TestSpanning(t *testing.T) {
	for _, tt := range []struct {
		name, policy string
		cfg          Config
	}{{"tape", "docs", spanning()}, {"disk", "docs-disk", spanning()}, {"tape by SCSI commands", "docs", bySCSI(spanning())}, {"tape, cartridges stay", "docs", staying(spanning(), dismount.LRU)}} {
		policyName := tt.policy
		t.Run(tt.name, func(t *testing.T) {
			w, err := New(tt.cfg, sim.Options{Codec: true, ShuffleTies: true})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
				if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
					return err
				}
				for n, q := range []bprd.Request{
					{Client: "client1", Target: "/all"},
					{Client: "client1", Target: "/some", Paths: []string{"/data/2*/file", "/data/07"}},
					{Client: "client1", Target: "/big", Paths: []string{"/data/big"}, StripTo: "/data"},
				} {
					b, err := backupOnce(ctx, policyName)
					if err != nil || b.Status != 0 {
						t.Errorf("backup: %v, status %d, %s", err, b.Status, b.Detail)
						return err
					}
					r, err := restoreOnce(ctx, q)
					if err != nil || r.Status != 0 {
						t.Errorf("restore to %s: %v, status %d, %s", q.Target, err, r.Status, r.Detail)
					}
					for _, x := range leftovers(ctx, w, n+1) {
						t.Error(x)
					}
				}
				p, err := bpdbm.Images.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.Query{})
				if err != nil {
					return err
				}
				media := map[string]bool{}
				for _, h := range p.Images {
					for _, f := range h.Fragments {
						media[f.Media] = true
					}
				}
				if policyName == "docs" && len(media) < 4 {
					t.Errorf("the images are on %d cartridges", len(media))
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			fs := w.Files("client1")
			same := func(name string, want []byte) {
				got, err := fs.ReadFile(name)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %v, %d bytes, %d were backed up", name, err, len(got), len(want))
				}
			}
			for i := range spanFiles {
				same(fmt.Sprintf("/all/data/%02d/file", i), content(i, spanSize))
				if i >= 20 || i == 7 {
					same(fmt.Sprintf("/some/data/%02d/file", i), content(i, spanSize))
				}
			}
			same("/all/data/big", content(99, 21<<20))
			same("/big/big", content(99, 21<<20))
			if _, err := fs.ReadFile("/some/data/08/file"); err == nil {
				t.Error("a file was restored that nobody asked for")
			}
		})
	}
}

// A cancelled job ends with 150 and leaves nothing, queued or active.
func TestCancel(t *testing.T) {
	for _, after := range []time.Duration{0, 3 * time.Second, 27 * time.Second, time.Minute} {
		t.Run(after.String(), func(t *testing.T) {
			w, err := New(small(), sim.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
				if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
					return err
				}
				ids, err := nbpem.BackupNow.Call(ctx, pbx.At("master", nbpem.Service), nbpem.Backup{Policy: "docs"})
				if err != nil {
					return err
				}
				if err := rt.Sleep(ctx, time.Millisecond+after); err != nil {
					return err
				}
				if _, err := nbjm.Cancel.Call(ctx, pbx.At("master", nbjm.Service), nbjm.CancelJob{Job: ids[0], Detail: "an operator wished it"}); err != nil {
					return err
				}
				j, err := runJob(ctx, "master", ids[0])
				if err != nil {
					return err
				}
				if j.Status != 150 || j.Detail != "an operator wished it" {
					t.Errorf("status %d, %s", j.Status, j.Detail)
				}
				if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
					return err
				}
				for _, x := range leftovers(ctx, w, 0) {
					t.Error(x)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A later name of a hard link comes back with its data, under the name that was
// asked for and no other.
func TestHardLink(t *testing.T) {
	w, err := New(small(), sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	fs := w.Files("client1")
	err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
		d, err := fs.Open(ctx, "/data/dir1")
		if err != nil {
			return err
		}
		for _, name := range []string{"second", "third"} {
			if err := d.Link(ctx, d, "file05", name); err != nil {
				return err
			}
		}
		if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
			return err
		}
		b, err := backupOnce(ctx, "docs-disk")
		if err != nil || b.Status != 0 {
			return fmt.Errorf("backup: status %d, %w", b.Status, err)
		}
		r, err := restoreOnce(ctx, bprd.Request{
			Client: "client1", Paths: []string{"/data/dir1/second", "/data/dir1/third"}, StripTo: "/data/dir1", Target: "/out",
		})
		if err != nil || r.Status != 0 || r.Files != 2 {
			t.Errorf("restore: %v, status %d, %s, %d files", err, r.Status, r.Detail, r.Files)
		}
		out, err := fs.Open(ctx, "/out")
		if err != nil {
			return err
		}
		names, err := out.Names(ctx)
		if err != nil || len(names) != 2 {
			t.Errorf("restored %q, %v", names, err)
		}
		a, err := out.Lstat(ctx, "second")
		b2, err2 := out.Lstat(ctx, "third")
		if err != nil || err2 != nil || a.Ino != b2.Ino || a.Size != 50_000 {
			t.Errorf("%+v %v, %+v %v", a, err, b2, err2)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Overwriting follows the mode that was asked for.
func TestOverwrite(t *testing.T) {
	w, err := New(small(), sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	fs := w.Files("client1")
	changed := []byte("changed after the backup")
	err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
		if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
			return err
		}
		b, err := backupOnce(ctx, "docs-disk")
		if err != nil || b.Status != 0 {
			return fmt.Errorf("backup: status %d, %w", b.Status, err)
		}
		for _, c := range []struct {
			mode archive.Mode
			kept bool
		}{{archive.Never, true}, {archive.Older, true}, {archive.Always, false}} {
			d, err := fs.Open(ctx, "/data/dir1")
			if err != nil {
				return err
			}
			if err := d.Remove(ctx, "file05"); err != nil {
				return err
			}
			if err := fs.WriteFile(ctx, "/data/dir1/file05", changed); err != nil {
				return err
			}
			r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Paths: []string{"/data/dir1/file05"}, Overwrite: c.mode})
			if err != nil {
				return err
			}
			got, err := fs.ReadFile("/data/dir1/file05")
			if err != nil || bytes.Equal(got, changed) != c.kept {
				t.Errorf("mode %v: status %d, %v, %d bytes", c.mode, r.Status, err, len(got))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A file whose name reads as a glob is restored by that name, beside what the
// glob matches.
func TestNameThatIsAGlob(t *testing.T) {
	w, err := New(small(), sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	fs := w.Files("client1")
	err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
		for _, name := range []string{"a[x]", "ax", "b[", "c?", "cd"} {
			if err := fs.WriteFile(ctx, "/data/"+name, []byte(name)); err != nil {
				return err
			}
		}
		if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
			return err
		}
		if b, err := backupOnce(ctx, "docs-disk"); err != nil || b.Status != 0 {
			return fmt.Errorf("backup: status %d, %w", b.Status, err)
		}
		for i, c := range []struct {
			path string
			want []string
		}{
			{"/data/a[x]", []string{"a[x]", "ax"}},
			{"/data/b[", []string{"b["}},
			{"/data/c?", []string{"c?", "cd"}},
		} {
			target := fmt.Sprintf("/out%d", i)
			r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Paths: []string{c.path}, StripTo: "/data", Target: target})
			if err != nil || r.Status != 0 {
				t.Errorf("%s: status %d, %s, %v", c.path, r.Status, r.Detail, err)
				continue
			}
			out, err := fs.Open(ctx, target)
			if err != nil {
				return err
			}
			got, err := out.Names(ctx)
			slices.Sort(got)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, %v, want %q", c.path, got, err, c.want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A client's policies hold different paths: each path comes from the policy that
// has it, whichever was backed up last.
func TestRestoreAcrossPolicies(t *testing.T) {
	w, err := New(small(), sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	fs := w.Files("client1")
	err = w.Do(w.Host("master"), "test", func(ctx context.Context, _ *host.Env) error {
		if err := fs.WriteFile(ctx, "/etc/hosts", []byte("hosts")); err != nil {
			return err
		}
		if err := rt.Sleep(ctx, 5*time.Minute); err != nil {
			return err
		}
		if _, err := nbpem.PutPolicy.Call(ctx, pbx.At("master", nbpem.Service), policy.Policy{
			Name: "etc", Clients: []string{"client1"}, Paths: []string{"/etc"}, Storage: "disk", Schedules: []policy.Schedule{{Name: "full", Type: policy.Full}},
		}); err != nil {
			return err
		}
		for _, name := range []string{"docs", "etc"} {
			if b, err := backupOnce(ctx, name); err != nil || b.Status != 0 {
				return fmt.Errorf("backup of %s: status %d, %w", name, b.Status, err)
			}
		}
		for i, c := range []struct {
			paths []string
			code  status.Code
			files int64
		}{
			{[]string{"/data/dir1/file05"}, 0, 1},
			{[]string{"/data/dir1/file05", "/etc/hosts"}, 0, 2},
			{[]string{"/etc/hosts"}, 0, 1},
			{[]string{"/etc/hosts", "/none"}, status.NotAllRestored, 0},
		} {
			r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Paths: c.paths, Target: fmt.Sprintf("/out%d", i)})
			if err != nil || r.Status != c.code || r.Files != c.files {
				t.Errorf("%q: status %d, %s, %d files, %v", c.paths, r.Status, r.Detail, r.Files, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
