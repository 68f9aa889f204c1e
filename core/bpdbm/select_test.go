package bpdbm

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/catalog"
	"capstan/core/host"
	"capstan/core/image"
	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/core/trace"
	"capstan/sim"
	simstore "capstan/sim/store"
)

// What a selection found stays while pages of it are to come: these come although the
// image's .f file, which another selection looks into, is not there any more. Each fits
// into a message, whatever there is many of.
func TestPagesOfASelection(t *testing.T) {
	all := &selected{of: Selection{BackupID: "c_1", Paths: []string{"/a"}}, Selected: Selected{As: map[string]string{}}}
	for i := range maxRanges + 7 {
		all.Ranges = append(all.Ranges, Range{1<<40 + int64(i)*1024, 1 << 40})
	}
	for i := range 3 * maxAs / 500 {
		all.As[fmt.Sprintf("/a/%05d", i)] = "/b/" + strings.Repeat("n", 500)
	}
	for i := range int64(20_000) {
		all.Hollow = append(all.Hollow, catalog.Entry{Path: fmt.Sprintf("/a/hollow%d", i), Size: 1 << 40, MTime: 1 << 60, Offset: i << 40, DataLen: 1 << 40, Count: 1 << 20})
		all.Missing = append(all.Missing, fmt.Sprintf("/c/%0200d", i))
	}
	all.names = slices.Sorted(maps.Keys(all.As))
	w := sim.New(sim.Options{})
	defer w.Close()
	master := w.NewHost("master", pbx.Master)
	from := pbx.Peer{Identity: master.Identity()}
	run := func(ctx context.Context, _ *host.Env) error {
		s, err := newForSelections(ctx, w)
		if err != nil {
			return err
		}
		restore := trace.WithJob(ctx, trace.Job{ID: 7, Try: 1, Restore: true})
		s.selected[7] = all
		got, pages, err := allPages(restore, s, from, all.of)
		if err != nil {
			return err
		}
		if d := cmp.Diff(all.Selected, got); pages < 3 || d != "" {
			t.Errorf("%d pages have %d of %d ranges, %d of %d names, %d of %d hollow entries, %d of %d missing paths", pages,
				len(got.Ranges), len(all.Ranges), len(got.As), len(all.As), len(got.Hollow), len(all.Hollow), len(got.Missing), len(all.Missing))
		}
		if len(s.selected) > 0 {
			t.Error("all pages have come, and the selection is kept")
		}
		s.selected[7] = all
		for _, q := range []Selection{{BackupID: "c_1", Paths: []string{"/b"}}, {BackupID: "c_1", Paths: []string{"/a"}, Literal: true}} {
			if _, err := s.selectEntries(restore, from, q); err == nil {
				t.Errorf("%+v is answered with another selection", q)
			}
		}
		if _, err := s.selectEntries(trace.WithJob(ctx, trace.Job{ID: 8, Try: 1, Restore: true}), from, all.of); err == nil {
			t.Error("a restore is answered with what another's selection found")
		}
		for _, q := range []Selection{
			{From: -1}, {From: len(got.Ranges) + 1}, {FromAs: -1}, {FromAs: len(got.As) + 1},
			{FromHollow: -1}, {FromHollow: len(got.Hollow) + 1}, {FromMissing: -1}, {FromMissing: len(got.Missing) + 1},
		} {
			q.BackupID, q.Paths = all.of.BackupID, all.of.Paths
			s.selected[7] = all
			if _, err := s.selectEntries(restore, from, q); status.Of(err, status.OK) != status.BadParameter {
				t.Errorf("%+v is not refused: %v", q, err)
			}
		}
		return nil
	}
	if err := w.Do(master, "asker", run); err != nil {
		t.Fatal(err)
	}
}

// A restore that ends before all pages of its selection were fetched leaves nothing.
func TestSelectionOfARestoreThatEnds(t *testing.T) {
	all := &selected{of: Selection{BackupID: "c_1"}, Selected: Selected{Ranges: make([]Range, maxRanges+1)}}
	w := sim.New(sim.Options{})
	defer w.Close()
	master := w.NewHost("master", pbx.Master)
	from := pbx.Peer{Identity: master.Identity()}
	if err := w.Do(master, "asker", func(ctx context.Context, _ *host.Env) error {
		s, err := newForSelections(ctx, w)
		if err != nil {
			return err
		}
		for id := range int64(2) {
			restore := trace.WithJob(ctx, trace.Job{ID: 7 + id, Try: 1, Restore: true})
			s.selected[7+id] = all
			if p, err := s.selectEntries(restore, from, all.of); err != nil || !p.More {
				t.Errorf("the first page: %v, %v", p.More, err)
			}
		}
		if len(s.selected) != 2 {
			t.Errorf("of two restores that wait for a page, %d selections are kept", len(s.selected))
		}
		if _, err := s.letGo(trace.WithJob(ctx, trace.Job{ID: 7, Try: 1, Restore: true}), from, struct{}{}); err != nil {
			return err
		}
		if s.selected[7] != nil || s.selected[8] == nil {
			t.Errorf("after restore 7 has ended, there are selections %v", slices.Sorted(maps.Keys(s.selected)))
		}
		s.selected[0] = all // as if it had been kept for who only looks
		if _, err := s.selectEntries(ctx, from, all.of); err != nil || s.selected[0] != nil {
			t.Errorf("for who only looks a selection is kept: %v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// newForSelections is a bpdbm that knows of an image whose .f file is not there.
func newForSelections(ctx context.Context, w *sim.World) (*Server, error) {
	db := simstore.NewDB(Schemas()...)
	s, err := New(ctx, db, simstore.NewDir(1<<30, w.Rand("images", "dir")))
	if err != nil {
		return nil, err
	}
	return s, db.Update(ctx, func(tx store.Tx) error {
		return image.Table.Put(tx, "c_1", image.Header{ID: "c_1", Client: "c", Time: 1, Complete: true})
	})
}

// allPages asks for all pages of a selection, as a restore does.
func allPages(ctx context.Context, s *Server, from pbx.Peer, q Selection) (all Selected, pages int, err error) {
	all.As = map[string]string{}
	for more := true; more; pages++ {
		q.From, q.FromAs, q.FromHollow, q.FromMissing = len(all.Ranges), len(all.As), len(all.Hollow), len(all.Missing)
		p, err := s.selectEntries(ctx, from, q)
		if err != nil {
			return all, pages, fmt.Errorf("page %d: %w", pages, err)
		}
		if _, err := pbx.Encode(p); err != nil {
			return all, pages, fmt.Errorf("page %d: %w", pages, err)
		}
		maps.Copy(all.As, p.As)
		all.Ranges, all.Hollow, all.Missing = append(all.Ranges, p.Ranges...), append(all.Hollow, p.Hollow...), append(all.Missing, p.Missing...)
		more = p.More
	}
	return all, pages, nil
}
