package media_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/media"
	"capstan/core/stream"
)

var full = media.Image{
	Policy: "docs = 1", Schedule: "", Type: "FULL", Since: 1_700_000_000_000_000_001, Retention: 36*time.Hour + time.Nanosecond, Expires: 5,
	Paths: []string{"/data", "/a\nb", ""}, Exclude: []string{"*.tmp"},
}

// What a header says of its image is read as it was written, and a header that says
// nothing of it, as they did at first, is read as one.
func TestHeaderOfAnImage(t *testing.T) {
	for name, i := range map[string]media.Image{
		"nothing": {}, "all": full, "for ever": {Policy: "p", Type: "INCR"},
	} {
		t.Run(name, func(t *testing.T) {
			h := media.FragmentHeader{BackupID: "c_1", Copy: 1, Number: 2, BlockSize: media.MinBlockSize, Image: i, Before: "A00001"}
			b, err := media.EncodeFragmentHeader(h)
			if err != nil {
				t.Fatal(err)
			}
			got, n, err := media.DecodeFragmentHeader(b)
			if err != nil || n != len(b) {
				t.Fatalf("%d of %d bytes, %v", n, len(b), err)
			}
			if d := cmp.Diff(h, got); d != "" {
				t.Error(d)
			}
			for at := 512; at < 512+bytes.IndexByte(b[512:], 0); at++ {
				c := bytes.Clone(b)
				c[at] ^= 4
				if _, _, err := media.DecodeFragmentHeader(c); err == nil {
					t.Errorf("byte %d was changed, and nobody saw it", at)
				}
			}
		})
	}
}

// A policy that names more than a header can hold is written all the same, without
// its lists; and so is one with a name that a header cannot hold.
func TestImageFitsItsBlock(t *testing.T) {
	long := full
	for range 1000 {
		long.Paths = append(long.Paths, "/some/longer/path")
	}
	awkward := full
	awkward.Policy = "a\nb"
	short := full
	short.Paths, short.Exclude = nil, nil
	for name, c := range map[string]struct{ image, want media.Image }{
		"all": {full, full}, "long lists": {long, short}, "an awkward name": {awkward, media.Image{}},
	} {
		t.Run(name, func(t *testing.T) {
			f := media.NewFragments("c_1", 1, media.MinBlockSize, c.image)
			h, err := f.Begin(0, "")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, h.Image); d != "" {
				t.Error(d)
			}
			if _, err := media.EncodeFragmentHeader(h); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEndOfAnImage(t *testing.T) {
	for _, end := range []*media.ImageEnd{nil, {}, {Began: -7, Files: 1 << 40, Status: 1}} {
		f := media.NewFragments("c_1", 1, media.MinBlockSize, full)
		if _, err := f.Begin(0, ""); err != nil {
			t.Fatal(err)
		}
		if err := f.Wrote(&stream.Slot{Kind: stream.Data, Bytes: make([]byte, 512), Len: 512}, 512); err != nil {
			t.Fatal(err)
		}
		done, err := f.Finish(true, end)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := parseTrailer(done.Trailer)
		if err != nil || !tr.end.Last {
			t.Fatalf("%+v, %v", tr.end, err)
		}
		if d := cmp.Diff(end, tr.end.Image); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(full, tr.head.Image); d != "" {
			t.Error(d)
		}
	}
}

func TestDiskNames(t *testing.T) {
	for _, id := range []string{"alpha_1700000000", "a_C1_F2_0000000001", "_C_F", "a.tar"} {
		data, trailer := media.DiskName(id, 2, 13)
		if got, copy, number, ok := media.ParseDiskName(data); !ok || got != id || copy != 2 || number != 13 {
			t.Errorf("%s: %q, %d, %d, %v", data, got, copy, number, ok)
		}
		for _, other := range []string{trailer, data + ".part", "x" + strings.TrimPrefix(data, id), strings.Replace(data, "_F13", "_F013", 1), strings.Replace(data, "_F13", "_F0", 1)} {
			if got, _, _, ok := media.ParseDiskName(other); ok && got == id {
				t.Errorf("%s was taken for a data file of %s", other, id)
			}
		}
	}
	for _, name := range []string{"", ".tar", "_C1_F1.tar", "a_F1_C1.tar", "a_C1_F.tar", "a_C_F1.tar", "a_C-1_F1.tar", "a_C1_F+1.tar"} {
		if got, copy, number, ok := media.ParseDiskName(name); ok {
			t.Errorf("%q: %q, %d, %d", name, got, copy, number)
		}
	}
}

func TestIsTrailer(t *testing.T) {
	f := media.NewFragments("c_1", 1, media.MinBlockSize, full)
	h, err := f.Begin(0, "")
	head, herr := media.EncodeFragmentHeader(h)
	done, ferr := f.Finish(true, nil)
	if err := errors.Join(err, herr, ferr); err != nil {
		t.Fatal(err)
	}
	for _, b := range done.Trailer {
		if !media.IsTrailer(b) {
			t.Error("a block of a trailer is not taken for one")
		}
	}
	if media.IsTrailer(head) || media.IsTrailer(nil) || media.IsTrailer([]byte("CAPTRL1")) {
		t.Error("what is no trailer is taken for one")
	}
}
