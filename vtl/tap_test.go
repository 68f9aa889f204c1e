package vtl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/dev"
)

// record is a record in the .tap format.
func record(word uint32, data string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, word)
	b = append(b, data...)
	if len(data)%2 == 1 {
		b = append(b, 0)
	}
	return binary.LittleEndian.AppendUint32(b, word)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

var (
	mark = make([]byte, 4)
	end  = []byte{0xFF, 0xFF, 0xFF, 0xFF}
	gap  = []byte{0xFE, 0xFF, 0xFF, 0xFF}
	abc  = record(3, "abc")
	abcd = record(4, "abcd")
)

func scan(b []byte) (*index, int64, error) {
	x := &index{stride: tapStride}
	whole, err := scanTap(bytes.NewReader(b), int64(len(b)), 1<<40, x)
	return x, whole, err
}

func TestScanTap(t *testing.T) {
	for _, tt := range []struct {
		name    string
		file    []byte
		whole   int64
		objects int64
		damaged bool
	}{
		{"empty", nil, 0, 0, false},
		{"one record", abcd, 12, 1, false},
		{"odd record", abc, 12, 1, false},
		{"files", join(abc, abcd, mark, abcd, mark, mark), 48, 6, false},
		{"end of medium", join(abc, end, abcd), 12, 1, false},
		{"bad record", record(0x80000004, "abcd"), 12, 1, false},
		{"torn length", join(abc, []byte{4, 0, 0}), 12, 1, false},
		{"torn data", join(abc, abcd[:9]), 12, 1, false},
		{"no second length", join(abc, abcd[:8]), 12, 1, false},
		{"gap", join(abc, gap), 12, 1, true},
		{"unknown class", record(0x70000004, "abcd"), 0, 0, true},
		{"lengths differ", join(abc, abcd[:8], abc), 12, 1, true},
		{"record too long", record(dev.MaxBlock+1, ""), 0, 0, true},
		{"empty record of class 8", record(0x80000000, ""), 0, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, whole, err := scan(tt.file)
			if errors.Is(err, errTap) != tt.damaged || (err != nil) != tt.damaged {
				t.Fatalf("error %v; want damaged %v", err, tt.damaged)
			}
			if whole != tt.whole || x.end() != tt.objects {
				t.Errorf("%d objects up to %d; want %d up to %d", x.end(), whole, tt.objects, tt.whole)
			}
		})
	}
}

func TestScanTapStopsAtCapacity(t *testing.T) {
	x := &index{stride: tapStride}
	zeros := make([]byte, 1<<16) // filemarks
	if _, err := scanTap(bytes.NewReader(zeros), int64(len(zeros)), 100*filemarkBytes, x); !errors.Is(err, errTap) {
		t.Errorf("16384 filemarks on a cartridge for 100: %v", err)
	}
}

// FuzzScanTap: whatever the file holds, the scan ends, and what it found can be
// scanned again with the same result.
func FuzzScanTap(f *testing.F) {
	f.Add(join(abc, abcd, mark, abcd, mark, mark))
	f.Add(join(abc, end))
	f.Add(join(abcd, gap, abc))
	f.Add(abcd[:9])
	f.Add(record(0x80000004, "abcd"))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, whole, err := scan(b)
		if whole < 0 || whole > int64(len(b)) {
			t.Fatalf("whole up to %d of %d", whole, len(b))
		}
		if x.before(x.end()).off != whole {
			t.Fatalf("the index ends at %d, the scan at %d", x.before(x.end()).off, whole)
		}
		if err != nil {
			return
		}
		y, again, err := scan(b[:whole])
		if err != nil || again != whole {
			t.Fatalf("scanned again: up to %d, %v; before %d", again, err, whole)
		}
		if d := cmp.Diff(x.runs, y.runs, cmp.AllowUnexported(run{})); d != "" {
			t.Error(d)
		}
	})
}

func FuzzSidecar(f *testing.F) {
	f.Add([]byte(`{"version":1,"barcode":"A","density":"LTO-9","capacity":10,"reserve":1,"durable":0}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSidecar(b, "A")
		if err == nil && (s.Capacity <= 0 || s.Reserve >= s.Capacity || s.Reserve < 0 || s.Durable < 0 || s.Barcode != "A") {
			t.Errorf("a sidecar was taken that makes no sense: %+v", s)
		}
	})
}

// TestIndexModel compares the index with a list of its objects.
func TestIndexModel(t *testing.T) {
	type object struct {
		kind objectKind
		size int64
	}
	rapid.Check(t, func(t *rapid.T) {
		x := &index{stride: tapStride}
		var list []object
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if rapid.IntRange(0, 4).Draw(t, "cut") == 0 {
				n := rapid.IntRange(0, len(list)).Draw(t, "at")
				list = list[:n]
				x.cut(int64(n))
				continue
			}
			o := object{blockObject, int64(rapid.IntRange(1, 3).Draw(t, "size"))}
			if rapid.Bool().Draw(t, "mark") {
				o = object{markObject, 0}
			}
			n := rapid.IntRange(1, 3).Draw(t, "count")
			for range n {
				list = append(list, o)
			}
			if err := x.add(o.kind, o.size, int64(n)); err != nil {
				t.Fatal(err)
			}
		}
		var want place
		marks := int64(0)
		for i, o := range list {
			if got := x.before(int64(i)); got != want {
				t.Fatalf("before object %d: %+v; want %+v", i, got, want)
			}
			if got := x.runs[x.find(int64(i))]; got.kind != o.kind || got.size != o.size {
				t.Fatalf("object %d is %+v; want %+v", i, got, o)
			}
			want.at += o.size
			want.off += tapStride(o.kind, o.size)
			if o.kind == markObject {
				if n, ok := x.mark(marks); !ok || n != int64(i) {
					t.Fatalf("filemark %d is object %d, %v; want %d", marks, n, ok, i)
				}
				marks++
				want.at += filemarkBytes
				want.marks++
			}
		}
		if got := x.before(x.end()); got != want || x.end() != int64(len(list)) {
			t.Fatalf("the end: %d, %+v; want %d, %+v", x.end(), got, len(list), want)
		}
		if _, ok := x.mark(marks); ok {
			t.Fatalf("there are more than %d filemarks", marks)
		}
	})
}
