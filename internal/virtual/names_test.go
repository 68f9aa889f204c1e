package virtual

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"capstan/core/archive"
	"capstan/core/bprd"
	"capstan/core/host"
	"capstan/core/status"
	"capstan/core/tar"
	"capstan/sim/tree"
)

// Names are bytes, through all of a backup and a restore: also where a hard link comes
// back without its first name, into a directory whose name is not UTF-8 either.
func TestNamesThatAreNotUTF8(t *testing.T) {
	const first, link, target = "/data/a\xff", "/data/z\xfe\xff", "/out\xc3\x28"
	for _, p := range []string{"docs", "docs-disk"} {
		t.Run(p, func(t *testing.T) {
			cfg := small()
			cfg.Hosts[2].Fill = func(ctx context.Context, fs *tree.FS) error {
				if err := fs.WriteFile(ctx, first, content(1, 5000)); err != nil {
					return err
				}
				d, err := fs.Open(ctx, "/data")
				if err != nil {
					return err
				}
				defer d.Close()
				return d.Link(ctx, d, first[len("/data/"):], link[len("/data/"):])
			}
			n := newTrial(t, cfg)
			n.until(5 * time.Minute)
			n.backup(p)
			n.as("desk", func(ctx context.Context) error {
				r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Paths: []string{link}, Target: target})
				if r.Status != 0 {
					t.Errorf("restore: status %d, %s", r.Status, r.Detail)
				}
				return err
			})
			n.same("client1", target+link, content(1, 5000))
			if _, err := n.Files("client1").ReadFile(target + first); err == nil {
				t.Error("the first name was restored, which nobody asked for")
			}
		})
	}
}

// linked is a domain with a file of two names, /data/a and then /data/b.
func linked() Config {
	cfg := small()
	cfg.Hosts[2].Fill = func(ctx context.Context, fs *tree.FS) error {
		if err := fs.WriteFile(ctx, "/data/a", content(1, 5000)); err != nil {
			return err
		}
		d, err := fs.Open(ctx, "/data")
		if err != nil {
			return err
		}
		defer d.Close()
		return d.Link(ctx, d, "a", "b")
	}
	return cfg
}

// replaceFirstName puts another file in the place of the first name of [linked].
func (n *trial) replaceFirstName() {
	n.as("client1", func(ctx context.Context) error {
		d, err := n.Files("client1").Open(ctx, "/data")
		if err != nil {
			return err
		}
		defer d.Close()
		if err := d.Remove(ctx, "a"); err != nil {
			return err
		}
		return n.Files("client1").WriteFile(ctx, "/data/a", content(2, 7000))
	})
}

// What a member is called otherwise, as it has the data of a hard link that comes back
// without its first name, is so in its own image: the first name of a later one is not.
func TestFirstNameInALaterImage(t *testing.T) {
	for _, p := range []string{"docs", "docs-disk"} {
		t.Run(p, func(t *testing.T) {
			n := newTrial(t, linked())
			n.until(5 * time.Minute)
			n.backup(p)
			n.replaceFirstName()
			n.backup(p)
			ids := n.ids()
			n.as("desk", func(ctx context.Context) error {
				r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Target: "/out", Overwrite: archive.Always,
					Parts: []bprd.Part{{Image: ids[0], Paths: []string{"/data/b"}}, {Image: ids[1], Paths: []string{"/data/a"}}}})
				if r.Status != 0 {
					t.Errorf("restore: status %d, %s", r.Status, r.Detail)
				}
				return err
			})
			n.same("client1", "/out/data/b", content(1, 5000))
			n.same("client1", "/out/data/a", content(2, 7000))
		})
	}
}

// A client whose tar does not know of other names gets no data: it would replace the
// file of the first name, which nobody asked for.
func TestTarThatAsksNoNames(t *testing.T) {
	for _, p := range []string{"docs", "docs-disk"} {
		t.Run(p, func(t *testing.T) {
			n := newTrial(t, linked())
			n.Host("client1").Mains[tar.Role] = host.Role(func(ctx context.Context, env *host.Env, a tar.Args, ready func()) (tar.Result, error) {
				a.Names = ""
				return tar.Main(ctx, env, a, ready)
			})
			n.until(5 * time.Minute)
			n.backup(p)
			n.replaceFirstName()
			n.as("desk", func(ctx context.Context) error {
				r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Paths: []string{"/data/b"}, Overwrite: archive.Always})
				if r.Status != status.RestoreFailed || !strings.Contains(r.Detail, "did not ask which files have other names") {
					t.Errorf("restore: status %d, %s", r.Status, r.Detail)
				}
				return err
			})
			n.same("client1", "/data/a", content(2, 7000))
		})
	}
}

// Hard links come back without their first names however many they are: more than fit
// into a message.
func TestVeryManyFirstNames(t *testing.T) {
	const links = 10_000
	name := func(i int) string { return fmt.Sprintf("%0200d", i) }
	cfg := small()
	cfg.Hosts[2].Fill = func(ctx context.Context, fs *tree.FS) error {
		err := errors.Join(fs.WriteFile(ctx, "/data/a/x", nil), fs.WriteFile(ctx, "/data/b/x", nil))
		if err != nil {
			return err
		}
		a, err := fs.Open(ctx, "/data/a")
		if err != nil {
			return err
		}
		defer a.Close()
		b, err := fs.Open(ctx, "/data/b")
		if err != nil {
			return err
		}
		defer b.Close()
		for i := range links {
			if err := fs.WriteFile(ctx, "/data/a/"+name(i), []byte(name(i))); err != nil {
				return err
			}
			if err := b.Link(ctx, a, name(i), name(i)); err != nil {
				return err
			}
		}
		return nil
	}
	n := newTrial(t, cfg)
	n.until(5 * time.Minute)
	n.backup("docs")
	n.as("desk", func(ctx context.Context) error {
		r, err := restoreOnce(ctx, bprd.Request{Client: "client1", Paths: []string{"/data/b"}, Target: "/out"})
		if r.Status != 0 || r.Files != links+2 {
			t.Errorf("restore: status %d, %s, %d files", r.Status, r.Detail, r.Files)
		}
		return err
	})
	for _, i := range []int{0, links / 2, links - 1} {
		n.same("client1", "/out/data/b/"+name(i), []byte(name(i)))
	}
}
