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
