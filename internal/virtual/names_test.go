package virtual

import (
	"context"
	"testing"
	"time"

	"capstan/core/bprd"
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
