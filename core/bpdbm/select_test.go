package bpdbm

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/host"
	"capstan/core/image"
	"capstan/core/pbx"
	"capstan/core/store"
	"capstan/sim"
	simstore "capstan/sim/store"
)

// What a selection found stays while pages of it are to come: these come although the
// image's .f file, which another selection looks into, is not there any more.
func TestPagesOfASelection(t *testing.T) {
	all := &selected{of: Selection{BackupID: "c_1", Paths: []string{"/a"}}, Selected: Selected{As: map[string]string{}}}
	for i := range maxRanges + 7 {
		all.Ranges = append(all.Ranges, Range{int64(i) * 1024, 512})
	}
	for i := range 3 * maxAs / 500 {
		all.As[fmt.Sprintf("/a/%05d", i)] = "/b/" + strings.Repeat("n", 500)
	}
	all.names = slices.Sorted(maps.Keys(all.As))
	w := sim.New(sim.Options{})
	defer w.Close()
	master := w.NewHost("master", pbx.Master)
	db := simstore.NewDB(Schemas()...)
	if err := w.Do(master, "asker", func(ctx context.Context, _ *host.Env) error {
		s, err := New(ctx, db, simstore.NewDir(1<<30, w.Rand("images", "dir")))
		if err != nil {
			return err
		}
		if err := db.Update(ctx, func(tx store.Tx) error {
			return image.Table.Put(tx, "c_1", image.Header{ID: "c_1", Client: "c", Time: 1, Complete: true})
		}); err != nil {
			return err
		}
		s.selected = all
		from := pbx.Peer{Identity: master.Identity()}
		q, as, pages := all.of, map[string]string{}, 0
		var ranges []Range
		for more := true; more; pages++ {
			p, err := s.selectEntries(ctx, from, q)
			if err != nil {
				return fmt.Errorf("page %d: %w", pages, err)
			}
			maps.Copy(as, p.As)
			ranges = append(ranges, p.Ranges...)
			q.From, q.FromAs, more = len(ranges), len(as), p.More
		}
		if d := cmp.Diff(all.Ranges, ranges); pages < 3 || d != "" || !maps.Equal(as, all.As) {
			t.Errorf("%d pages have %d of %d ranges and %d of %d names", pages, len(ranges), len(all.Ranges), len(as), len(all.As))
		}
		if s.selected != nil {
			t.Error("all pages have come, and the selection is kept")
		}
		s.selected = all
		for _, q := range []Selection{{BackupID: "c_1", Paths: []string{"/b"}}, {BackupID: "c_1", Paths: []string{"/a"}, Literal: true}} {
			if _, err := s.selectEntries(ctx, from, q); err == nil {
				t.Errorf("%+v is answered with another selection", q)
			}
		}
		for _, q := range []Selection{{From: -1}, {From: len(ranges) + 1}, {FromAs: -1}, {FromAs: len(as) + 1}} {
			q.BackupID, q.Paths = all.of.BackupID, all.of.Paths
			if _, err := s.selectEntries(ctx, from, q); err == nil {
				t.Errorf("ranges from %d and names from %d are not refused", q.From, q.FromAs)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
