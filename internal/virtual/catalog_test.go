package virtual

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/bpdbm"
	"capstan/core/bprd"
	"capstan/core/catalog"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/core/stream"
	"capstan/core/tree"
)

// The catalog of an image can be read through calls, by the hosts that may read
// the image, and by no other client.
func TestRemoteCatalog(t *testing.T) {
	cfg := small()
	cfg.Hosts = append(cfg.Hosts, Host{Name: "client2", Kinds: pbx.Client})
	n := newTrial(t, cfg)
	n.backup("docs-disk")
	id := n.ids()[0]
	read := func(ctx context.Context) (paths []string, err error) {
		r, err := bpdbm.NewRemote(ctx, pbx.At("master", bpdbm.Service), 1<<20).Open(ctx, id)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return paths, r.Walk(ctx, "/data", func(e catalog.Entry) (bool, error) {
			paths = append(paths, e.Path)
			return true, nil
		})
	}
	want := []string{"/data", "/data/dir0", "/data/dir1", "/data/dir2", "/data/dir3"}
	for dir := range 4 {
		for i := dir; i < 40; i += 4 {
			want = append(want, fmt.Sprintf("/data/dir%d/file%02d", dir, i))
		}
	}
	for _, who := range []string{"desk", "media1", "client1"} {
		n.as(who, func(ctx context.Context) error {
			got, err := read(ctx)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s reads (-want +got):\n%s", who, d)
			}
			return err
		})
	}
	n.as("client2", func(ctx context.Context) error {
		if got, err := read(ctx); status.Of(err, 0) != status.NoImage {
			t.Errorf("client2 reads %d entries of client1's image: %v; want status %d", len(got), err, status.NoImage)
		}
		return nil
	})
}

// An incremental shows what is gone as gone, and holds what was moved with its
// times: together with the full backup it shows the tree as it is, and a restore
// brings back just that.
func TestDeletionsAndMoves(t *testing.T) {
	cfg := small()
	cfg.Domain.Policies[1].Schedules = append(cfg.Domain.Policies[1].Schedules, incremental)
	n := newTrial(t, cfg)
	inc := func() {
		t.Helper()
		id := n.start(nbpem.Backup{Policy: "docs-disk", Schedule: incremental.Name})[0]
		n.as("desk", func(ctx context.Context) error {
			j, err := runJob(ctx, "master", id)
			if err == nil && j.Status != status.OK {
				err = fmt.Errorf("incremental: status %d, %s", j.Status, j.Detail)
			}
			return err
		})
	}
	n.backup("docs-disk")
	n.until(time.Hour)
	n.as("client1", func(ctx context.Context) error {
		fs := n.Files("client1")
		data, err := fs.Open(ctx, "/data")
		if err != nil {
			return err
		}
		defer data.Close()
		if err := removeIn(ctx, data, "dir0", "file00", "file36"); err != nil {
			return err
		}
		if err := removeIn(ctx, data, "dir2", ""); err != nil {
			return err
		}
		if err := removeIn(ctx, data, "dir3", ""); err != nil {
			return err
		}
		return errors.Join(data.Remove(ctx, "dir2"), data.Remove(ctx, "dir3"), data.Rename(ctx, "dir1", "moved"),
			fs.WriteFile(ctx, "/data/dir2/other", []byte("in a new directory of an old name")),
			fs.WriteFile(ctx, "/data/dir3", []byte("a file where a directory was")))
	})
	inc()
	want := n.tree("client1", "/data")
	images := n.ids()
	if got := n.asOf(images[1], "/data"); !cmp.Equal(want, got) {
		t.Errorf("as of the incremental (-want +got):\n%s", cmp.Diff(want, got))
	}
	if got := n.asOf(images[0], "/data"); len(got) != 45 {
		t.Errorf("as of the full backup there are %d files, want 45", len(got))
	}
	// The incremental holds the moved files, of the others only what changed.
	held := map[string]bool{}
	n.as("desk", func(ctx context.Context) error {
		p, err := bpdbm.ListDir.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.Dir{BackupID: images[1], Path: "/data", Recursive: true})
		for _, e := range p.Entries {
			held[e.Path] = true
			content, rerr := n.Files("client1").ReadFile(e.Path)
			if rerr == nil && e.CRC != crc32.Checksum(content, stream.Castagnoli) {
				t.Errorf("%s of %d bytes has the CRC %08x in the catalog", e.Path, e.Size, e.CRC)
			}
		}
		return err
	})
	if !held["/data/moved/file01"] || !held["/data/dir2/other"] || held["/data/dir0/file04"] || held["/data/dir0/file00"] {
		t.Errorf("the incremental holds %v", slices.Sorted(maps.Keys(held)))
	}
	// A second incremental builds on the first; what is emptied is empty.
	n.until(2 * time.Hour)
	n.as("client1", func(ctx context.Context) error {
		data, err := n.Files("client1").Open(ctx, "/data")
		if err != nil {
			return err
		}
		defer data.Close()
		return removeIn(ctx, data, "moved", "")
	})
	inc()
	want = n.tree("client1", "/data")
	images = n.ids()
	if got := n.asOf(images[2], "/data"); !cmp.Equal(want, got) {
		t.Errorf("as of the second incremental (-want +got):\n%s", cmp.Diff(want, got))
	}
	for pattern, want := range map[string][]string{
		"/data/dir0/file00":     {"full /data/dir0/file00", "first - /data/dir0/file00"},
		"file04":                {"full /data/dir0/file04"},
		"file?5":                {"full /data/dir1/file05", "full /data/dir3/file15", "full /data/dir1/file25", "full /data/dir3/file35", "first /data/moved/file05", "first /data/moved/file25"},
		"/data/*/other":         {"first /data/dir2/other"},
		"/data/moved/file01":    {"first /data/moved/file01", "second - /data/moved/file01"},
		"/data/dir1/file01":     {"full /data/dir1/file01", "first - /data/dir1/file01"},
		"no such file anywhere": nil,
	} {
		got := n.search(pattern, map[string]string{images[0]: "full", images[1]: "first", images[2]: "second"})
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("find %s (-want +got):\n%s", pattern, d)
		}
	}
	n.as("desk", func(ctx context.Context) error {
		j, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/out"})
		if err == nil && j.Status != status.OK {
			err = fmt.Errorf("restore: status %d, %s", j.Status, j.Detail)
		}
		return err
	})
	// What was deleted is not restored, but by name of an image that has it.
	n.as("desk", func(ctx context.Context) error {
		j, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/late", Paths: []string{"/data/dir0/file00"}})
		if j.Status != status.NotAllRestored || !strings.Contains(j.Detail, images[0]) {
			t.Errorf("a restore of a deleted file: status %d, %s; want %d and %s", j.Status, j.Detail, status.NotAllRestored, images[0])
		}
		return err
	})
	var out []string
	for _, p := range n.tree("client1", "/out/data") {
		out = append(out, strings.TrimPrefix(p, "/out"))
	}
	if d := cmp.Diff(want, out); d != "" {
		t.Errorf("restored (-want +got):\n%s", d)
	}
}

// removeIn removes files of a directory in parent; "" is all of them.
func removeIn(ctx context.Context, parent tree.Dir, name string, files ...string) error {
	d, err := parent.OpenDir(ctx, name)
	if err != nil {
		return err
	}
	defer d.Close()
	if files[0] == "" {
		if files, err = d.Names(ctx); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := d.Remove(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// tree are the paths and sizes of a tree's files, sorted.
func (n *trial) tree(host, path string) (all []string) {
	n.t.Helper()
	n.as(host, func(ctx context.Context) error {
		var walk func(p string) error
		walk = func(p string) error {
			d, err := n.Files(host).Open(ctx, p)
			if err != nil {
				return err
			}
			defer d.Close()
			all = append(all, p+" 0")
			names, err := d.Names(ctx)
			for _, name := range names {
				i, lerr := d.Lstat(ctx, name)
				switch {
				case lerr != nil:
					return lerr
				case i.Type == catalog.Directory:
					err = errors.Join(err, walk(p+"/"+name))
				default:
					all = append(all, fmt.Sprintf("%s/%s %d", p, name, i.Size))
				}
			}
			return err
		}
		return walk(path)
	})
	slices.Sort(all)
	return all
}

// asOf is what an image shows with those that it builds on, like tree.
func (n *trial) asOf(image, path string) (all []string) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) error {
		p, err := bpdbm.ListDir.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.Dir{BackupID: image, Path: path, Recursive: true, AsOf: true})
		for _, e := range p.Entries {
			all = append(all, fmt.Sprintf("%s %d", e.Path, e.Size))
		}
		return err
	})
	slices.Sort(all)
	return all
}

// search are the matches of a pattern in client1's images, sorted.
func (n *trial) search(pattern string, names map[string]string) (all []string) {
	n.t.Helper()
	n.as("client1", func(ctx context.Context) error {
		p, err := bpdbm.Find.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.Search{Client: "client1", Pattern: pattern})
		for _, m := range p.Matches {
			what := names[m.BackupID]
			if m.Entry.Type == catalog.Gone {
				what += " -"
			}
			all = append(all, what+" "+m.Entry.Path)
		}
		return err
	})
	slices.Sort(all)
	return all
}
