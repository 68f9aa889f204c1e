package bprd

import (
	"testing"

	"capstan/core/bpbrm"
	"capstan/core/status"
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

// Nor is one whose tar did not ask under which names members are to be written.
func TestUnnamed(t *testing.T) {
	for _, c := range []struct {
		named, asked bool
		was, want    status.Code
	}{
		{false, false, status.OK, status.OK}, {true, true, status.OK, status.OK}, {true, false, status.OK, status.RestoreFailed},
		{true, false, status.Partial, status.RestoreFailed}, {true, false, status.TarError, status.TarError},
	} {
		r := &led{args: bpbrm.Args{Named: c.named}, named: c.asked}
		if got := r.judged(bpbrm.Finished{Status: c.was}).Status; got != c.want {
			t.Errorf("other names %v, asked for %v, status %d: status %d, want %d", c.named, c.asked, c.was, got, c.want)
		}
	}
}
