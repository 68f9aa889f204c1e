package virtual

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/bpdbm"
	"capstan/core/catalog"
	"capstan/core/pbx"
	"capstan/core/status"
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
