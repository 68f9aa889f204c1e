package media_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/archive"
	"capstan/core/catalog"
	"capstan/core/media"
	"capstan/core/stream"
	simtree "capstan/sim/tree"
)

// TestCutAfterHeaders: a fragment that begins with the first byte of a member's
// data continues that member at 0.
func TestCutAfterHeaders(t *testing.T) {
	needGNUTar(t)
	for pad := 0; pad < 40; pad++ {
		fs := testFS()
		if err := fs.WriteFile(ctx, "/src/a", content(1, pad*512)); err != nil {
			t.Fatal(err)
		}
		if err := fs.WriteFile(ctx, "/src/b", content(2, 20_000)); err != nil {
			t.Fatal(err)
		}
		ring, all := pack(t, fs, media.MinBlockSize, media.Limits{})
		b := all.entries[2]
		for i, s := range ring.list {
			if s.Kind != stream.Data || s.Offset != b.Offset+b.HeadLen {
				continue
			}
			vols := record(t, ring, func(k int) bool { return k == i })
			if c := vols[1].Header.Continued; c == nil || c.Offset != 0 || c.Size != 20_000 {
				t.Fatalf("continued %+v", c)
			}
			out := t.TempDir()
			if msg, err := gnuTar(t, []string{"-x", "-M", "-C", out}, save(t, vols)); err != nil || msg != "" {
				t.Fatalf("%v\n%s", err, msg)
			}
			compare(t, fs, out, all, "cut after the headers")
			return
		}
	}
	t.Fatal("no slot ends where headers end")
}

// drawTree draws files of many sizes.
func drawTree(t *rapid.T) *simtree.FS {
	fs := testFS()
	if err := fs.WriteFile(ctx, "/src/0", nil); err != nil {
		t.Fatal(err)
	}
	for i, n := range rapid.SliceOfN(rapid.IntRange(0, 120_000), 0, 12).Draw(t, "sizes") {
		name := "/src/" + strings.Repeat("d/", i%3) + strings.Repeat("x", 1+i*17) + "f"
		if err := fs.WriteFile(ctx, name, content(byte(i), n)); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// packRapid is pack in a property test.
func packRapid(t *rapid.T, fs *simtree.FS, size int, limits media.Limits) (*slots, *collect) {
	r, err := archive.NewReader(ctx, fs, archive.Selection{Paths: []string{"/src"}}, func(p archive.Problem) { t.Fatal(p) })
	if err != nil {
		t.Fatal(err)
	}
	ring, all := &slots{size: size}, &collect{}
	if _, err := stream.Splice(ctx, both{media.NewPacker(ring, limits), all}, r); err != nil {
		t.Fatal(err)
	}
	return ring, all
}

// TestPackerKeepsItsRules checks slots against what a packer promises.
func TestPackerKeepsItsRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{4096, 16 << 10, 64 << 10}).Draw(t, "slot")
		limits := media.Limits{Bytes: int64(rapid.SampledFrom([]int{0, 1, 50_000, 200_000}).Draw(t, "bytes")), Entries: rapid.IntRange(0, 4).Draw(t, "entries")}
		ring, all := packRapid(t, drawTree(t), size, limits)
		checkSlots(t, ring, all, limits)

		back := &collect{}
		if _, err := stream.Splice(ctx, back, media.NewUnpacker(ring)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back.data, all.data) || !cmp.Equal(back.entries, all.entries) {
			t.Fatal("what is unpacked is not what was packed")
		}
	})
}

func checkSlots(t *rapid.T, ring *slots, all *collect, limits media.Limits) {
	starts, ends := map[int64]bool{}, map[int64]*catalog.Entry{}
	for i := range all.entries {
		e := &all.entries[i]
		starts[e.Offset], ends[e.Offset] = true, e
	}
	var at, fragment int64
	begun := 0
	limit := max(limits.Bytes, int64(ring.size))
	for i, s := range ring.list {
		if s.Kind != stream.Data {
			continue
		}
		if s.Offset != at {
			t.Fatalf("slot %d begins at %d, the one before ended at %d", i, s.Offset, at)
		}
		if s.Flags&stream.CutBefore != 0 {
			fragment, begun = at, 0
			for _, e := range all.entries {
				inside := e.Offset < at && at < e.End()
				if inside && at < e.Offset+e.HeadLen {
					t.Fatalf("a fragment begins inside the headers of %s", e.Path)
				}
				if inside && (limits.Bytes == 0 || e.End()-e.Offset <= limit) {
					t.Fatalf("a fragment begins inside %s, which would fit into one", e.Path)
				}
			}
		}
		at += s.Len
		for o := s.Offset; o < at; o += 512 {
			if e := ends[o]; e != nil {
				begun++
				if e.Offset+e.HeadLen > at && e.HeadLen <= int64(ring.size) {
					t.Fatalf("the headers of %s lie in two slots", e.Path)
				}
			}
		}
		if limits.Entries > 0 && begun > limits.Entries {
			t.Fatalf("%d members begin in a fragment, at most %d may", begun, limits.Entries)
		}
		if limits.Bytes > 0 && at-fragment > limit+1024 { // the end of the archive may follow
			t.Fatalf("a fragment has %d bytes, at most %d may be", at-fragment, limit)
		}
		if s.Len < int64(ring.size) && at < all.length && !starts[at] {
			t.Fatalf("slot %d of %d bytes is short, and no member begins after it", i, s.Len)
		}
	}
	if at != all.length {
		t.Fatalf("slots have %d bytes, the image %d", at, all.length)
	}
}

// TestRestoreFromVolumes reads wanted members back from fragments, by the block
// tables, as the owner of a device does, and restores them.
func TestRestoreFromVolumes(t *testing.T) {
	fs := testFS()
	files(t, fs)
	ring, all := pack(t, fs, media.MinBlockSize, media.Limits{Bytes: 60_000})
	vols := record(t, ring, func(i int) bool { return i == 7 })
	for _, want := range [][]string{{"/src/big"}, {"/src/a/one", "/src/sparse", "/src/z"}, {"/src/" + awkward}, nil} {
		var wanted []catalog.Entry
		for _, e := range all.entries {
			if want == nil || slices.Contains(want, e.Path) {
				wanted = append(wanted, e)
			}
		}
		back := &slots{size: ring.size}
		feed(t, vols, wanted, back)
		to := testFS()
		w, err := archive.NewWriter(ctx, to, archive.WriteOptions{}, func(p archive.Problem) { t.Error(p) })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Splice(ctx, w, media.NewUnpacker(back)); err != nil {
			t.Fatal(err)
		}
		for _, e := range wanted {
			if e.Type != catalog.Regular {
				continue
			}
			a, _ := fs.ReadFile(e.Path)
			b, err := to.ReadFile(e.Path)
			if err != nil || !bytes.Equal(a, b) {
				t.Errorf("%s: %d bytes, %v; want %d", e.Path, len(b), err, len(a))
			}
		}
	}
}

func feed(t *testing.T, vols []*volume, wanted []catalog.Entry, ring *slots) {
	t.Helper()
	pick, f := media.NewPicker(wanted), media.NewFeeder(ring)
	for {
		at, ok := pick.Next()
		if !ok {
			break
		}
		i := slices.IndexFunc(vols, func(v *volume) bool { return at < v.Header.Start+v.Bytes })
		v := vols[i]
		block, _ := v.Blocks.Find(at - v.Header.Start)
		_, off, ok := v.Blocks.Block(block)
		if !ok {
			t.Fatalf("no block holds %d", at)
		}
		mem, err := f.Empty(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n := copy(mem, v.blocks[1+block])
		if err := v.Blocks.CheckBlock(block, mem[:n]); err != nil {
			t.Fatal(err)
		}
		if err := f.Data(ctx, pick.Pick(mem[:n], v.Header.Start+off), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.End(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestHollow packs a tree of many terabytes and checks what becomes of it.
func TestHollow(t *testing.T) {
	fs := testFS()
	h := simtree.Hollow{Files: 5_000_000, Bytes: 9 << 40}
	if err := fs.AddHollow(ctx, "/src", h, rand.New(rand.NewPCG(3, 4))); err != nil {
		t.Fatal(err)
	}
	const limit = 1 << 40
	ring, all := pack(t, fs, media.DefaultBlockSize, media.Limits{Bytes: limit, Entries: media.DefaultEntries})
	if len(ring.list) > 100 || len(all.via) == 0 || all.via[0].Name != "disk" {
		t.Fatalf("%d slots, via %v", len(ring.list), all.via)
	}
	vols := record(t, ring, func(int) bool { return false })
	var sum, count int64
	for i, v := range vols {
		if v.Bytes > limit || v.Blocks.Len() != v.Bytes {
			t.Errorf("fragment %d has %d bytes, %d in blocks", i+1, v.Bytes, v.Blocks.Len())
		}
		sum += v.Bytes
		for _, e := range readTrailer(t, v).entries {
			count += e.Files()
		}
	}
	if sum != all.length || count != h.Files+1 { // and the directory
		t.Errorf("%d bytes of %d, %d files", sum, all.length, count)
	}
	ring.at, ring.free = 0, false
	back := &collect{}
	if n, err := stream.Splice(ctx, back, media.NewUnpacker(ring)); err != nil || n.Bytes != all.length {
		t.Fatalf("%+v, %v", n, err)
	}
	if !cmp.Equal(back.entries, all.entries) {
		t.Error("entries differ")
	}
}

// TestHollowVolumes: early warning comes in the middle of a hollow slot, and the
// rest of it begins the next fragment.
func TestHollowVolumes(t *testing.T) {
	fs := testFS()
	if err := fs.AddHollow(ctx, "/src", simtree.Hollow{Files: 1_000_000, Bytes: 1 << 40}, rand.New(rand.NewPCG(3, 4))); err != nil {
		t.Fatal(err)
	}
	ring, all := pack(t, fs, media.DefaultBlockSize, media.Limits{})
	const volume = 100_000 * media.DefaultBlockSize
	f := media.NewFragments("c_1", 1, media.DefaultBlockSize, media.Image{})
	if _, err := f.Begin(0, ""); err != nil {
		t.Fatal(err)
	}
	var sum int64
	fragments := 1
	for _, s := range ring.list {
		if s.Kind == stream.Member {
			es, err := media.DecodeMembers(s)
			if err != nil {
				t.Fatal(err)
			}
			f.Members(es)
		}
		for left := s.Len; s.Kind == stream.Data && left > 0; {
			if f.Bytes() == volume {
				done, err := f.Finish(false, nil)
				if err != nil {
					t.Fatal(err)
				}
				sum += done.Bytes
				h, err := f.Begin(f.At(), "")
				if err != nil || h.Continued == nil || h.Start != sum {
					t.Fatalf("%+v, %v", h, err)
				}
				fragments++
			}
			n := min(left, volume-f.Bytes())
			if err := f.Wrote(&s, n); err != nil {
				t.Fatal(err)
			}
			left -= n
		}
	}
	last, err := f.Finish(true, nil)
	if err != nil || sum+last.Bytes != all.length || fragments != int(all.length/volume)+1 {
		t.Fatalf("%d fragments of %d bytes, %v; want %d", fragments, sum+last.Bytes, err, all.length)
	}
}

// trailer is what reading one gave.
type trailer struct {
	head    media.FragmentHeader
	entries []catalog.Entry
	amended []catalog.Entry
	blocks  media.BlockTable
	end     media.TrailerEnd
}

func readTrailer(t testing.TB, v *volume) trailer {
	t.Helper()
	tr, err := parseTrailer(v.Trailer)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(v.Header, tr.head); d != "" {
		t.Fatal(d)
	}
	want := media.TrailerEnd{Bytes: v.Bytes, Entries: v.Entries, Blocks: int64(v.Blocks.Count()), Last: v.last}
	if tr.end != want || !bytes.Equal(media.EncodeBlocks(tr.blocks), media.EncodeBlocks(v.Blocks)) {
		t.Fatalf("the trailer says %+v, want %+v, or other blocks", tr.end, want)
	}
	return tr
}

func parseTrailer(blocks [][]byte) (trailer, error) {
	var tr trailer
	var err error
	next := media.TrailerFile(bytes.NewReader(bytes.Join(blocks, nil)))
	tr.end, err = media.ReadTrailer(next, media.TrailerVisitor{
		Header:  func(h media.FragmentHeader) error { tr.head = h; return nil },
		Entries: func(es []catalog.Entry) error { tr.entries = append(tr.entries, es...); return nil },
		Amended: func(es []catalog.Entry) error { tr.amended = append(tr.amended, es...); return nil },
		Blocks:  func(b media.BlockTable) error { tr.blocks.Append(b); return nil },
	})
	return tr, err
}

// TestTrailers: together they have all entries and blocks of the image.
func TestTrailers(t *testing.T) {
	fs := testFS()
	files(t, fs)
	ring, all := pack(t, fs, media.MinBlockSize, media.Limits{Bytes: 30_000, Entries: 3})
	vols := record(t, ring, func(int) bool { return false })
	var entries []catalog.Entry
	for _, v := range vols {
		for _, b := range v.Trailer {
			if len(b) > media.MinBlockSize {
				t.Errorf("a block of a trailer has %d bytes", len(b))
			}
		}
		entries = append(entries, readTrailer(t, v).entries...)
	}
	if d := cmp.Diff(all.entries, entries); d != "" {
		t.Fatal(d)
	}
}

// TestTrailerOfManyEntries has more entries and blocks than one block holds.
func TestTrailerOfManyEntries(t *testing.T) {
	var blocks [][]byte
	h := media.FragmentHeader{BackupID: "c_1", Copy: 1, Number: 1, BlockSize: media.MinBlockSize}
	w, err := media.NewTrailerWriter(h, func(b []byte) error { blocks = append(blocks, b); return nil })
	if err != nil {
		t.Fatal(err)
	}
	var want []catalog.Entry
	var table media.BlockTable
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 20_000 {
		want = append(want, catalog.Entry{Path: "/" + strings.Repeat("p", r.IntN(60)), Type: catalog.Regular, Ino: r.Uint64(), Offset: int64(i) * 1024, HeadLen: 1024})
		table.Add(media.MinBlockSize, r.Uint32())
	}
	table.AddHollow(1<<50, 1<<18)
	if err := errors.Join(w.Entries(want), w.Close(table, true, nil)); err != nil {
		t.Fatal(err)
	}
	tr, err := parseTrailer(blocks)
	if err != nil || len(blocks) < 10 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	if d := cmp.Diff(want, tr.entries); d != "" {
		t.Fatal(d)
	}
	if !bytes.Equal(media.EncodeBlocks(tr.blocks), media.EncodeBlocks(table)) {
		t.Error("the block table differs")
	}
	for _, broken := range [][][]byte{blocks[:len(blocks)-1], blocks[1:], append(slices.Clone(blocks[:2]), blocks[3:]...), nil} {
		if _, err := parseTrailer(broken); !errors.Is(err, media.ErrDamaged) {
			t.Errorf("a trailer without some of its blocks: %v", err)
		}
	}
}

func TestTrailerFileCutOff(t *testing.T) {
	fs := testFS()
	files(t, fs)
	ring, _ := pack(t, fs, media.MinBlockSize, media.Limits{})
	whole := bytes.Join(record(t, ring, func(int) bool { return false })[0].Trailer, nil)
	for n := range len(whole) {
		if _, err := parseTrailer([][]byte{whole[:n]}); err == nil {
			t.Fatalf("the first %d of %d bytes were taken for all", n, len(whole))
		}
	}
	if _, err := parseTrailer([][]byte{whole}); err != nil {
		t.Fatal(err)
	}
}

func TestBlockTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table media.BlockTable
		var lens []int64 // of each block
		for range rapid.IntRange(0, 12).Draw(t, "runs") {
			size := rapid.IntRange(1, 5).Draw(t, "size") * 512
			n := rapid.IntRange(1, 5).Draw(t, "count")
			if rapid.Bool().Draw(t, "hollow") {
				bytes := int64(n*size - rapid.IntRange(0, size-1).Draw(t, "short"))
				table.AddHollow(bytes, size)
				for ; bytes > 0; bytes -= int64(size) {
					lens = append(lens, min(bytes, int64(size)))
				}
				continue
			}
			for i := range n {
				table.Add(size, uint32(i))
				lens = append(lens, int64(size))
			}
		}
		back, err := media.DecodeBlocks(media.EncodeBlocks(table))
		if err != nil || back.Count() != len(lens) {
			t.Fatalf("%d blocks, %v; want %d", back.Count(), err, len(lens))
		}
		var at int64
		for i, n := range lens {
			b, off, ok := back.Block(i)
			if !ok || int64(b.Len) != n || off != at {
				t.Fatalf("block %d: %+v at %d, want %d at %d", i, b, off, n, at)
			}
			for _, in := range []int64{0, n - 1} {
				if k, skip := back.Find(at + in); k != i || skip != in {
					t.Fatalf("byte %d is found in block %d at %d, want %d at %d", at+in, k, skip, i, in)
				}
			}
			at += n
		}
		if k, skip := back.Find(at); k != len(lens) || skip != 0 {
			t.Fatalf("the end is found in block %d at %d", k, skip)
		}
		if _, _, ok := back.Block(len(lens)); ok || back.Len() != at {
			t.Fatalf("%d bytes, want %d", back.Len(), at)
		}
	})
}

func TestCheckBlock(t *testing.T) {
	var table media.BlockTable
	b := content(1, 512)
	table.Add(len(b), 0)
	table.AddHollow(1024, 512)
	for i := range 5 {
		if err := table.CheckBlock(i, b); err == nil {
			t.Errorf("block %d passes", i)
		}
	}
}

func TestPicker(t *testing.T) {
	entry := func(at, n int64) catalog.Entry { return catalog.Entry{Offset: at, HeadLen: 512, DataLen: n} }
	p := media.NewPicker([]catalog.Entry{entry(3072, 512), entry(0, 1), entry(1024, 0), entry(0, 1)})
	b := content(0, 4096)
	got := p.Pick(bytes.Clone(b), 0)
	if want := append(bytes.Clone(b[:1536]), b[3072:4096]...); !bytes.Equal(got, want) {
		t.Errorf("picked %d bytes, want %d", len(got), len(want))
	}
	if at, ok := p.Next(); ok {
		t.Errorf("still wants %d", at)
	}
	p = media.NewPicker([]catalog.Entry{entry(1<<30, 1<<40)})
	if n := p.PickHollow(1<<31, 0); n != 1<<30 {
		t.Errorf("picked %d", n)
	}
	if at, ok := p.Next(); !ok || at != 1<<31 {
		t.Errorf("next is %d, %v", at, ok)
	}
}

// Parts are of ranges that lie together; a range that goes on after the end is cut there.
func TestSplit(t *testing.T) {
	const k = 512
	entry := func(at, n int64) catalog.Entry { return catalog.Entry{Offset: at * k, DataLen: n * k} }
	p := media.NewPicker([]catalog.Entry{entry(0, 10), entry(15, 5), entry(100, 10), entry(200, 50), entry(300, 10)})
	parts := p.Split(230*k, func(to, from int64) bool { return from-to < 10*k })
	var got [][2]int64
	for _, q := range parts {
		from, _ := q.Next()
		got = append(got, [2]int64{from / k, q.End() / k})
	}
	if d := cmp.Diff([][2]int64{{0, 20}, {100, 110}, {200, 230}}, got); d != "" {
		t.Error(d)
	}
	if n := parts[0].PickHollow(50*k, 0); n != 15*k {
		t.Errorf("the first part wants %d bytes", n)
	}
	if at, ok := p.Next(); !ok || at != 230*k || p.End() != 310*k {
		t.Errorf("what is left begins at %d, %v, and ends at %d", at, ok, p.End())
	}
	if parts := p.Split(230*k, nil); parts != nil {
		t.Errorf("%d parts of nothing", len(parts))
	}
}

func TestHeaders(t *testing.T) {
	l := media.Label{MediaID: "A00001", Barcode: "A00001L9", Pool: "Büro = 1", UUID: "3f2a", Written: 1_700_000_000_123_456_789, BlockSize: media.DefaultBlockSize}
	h := media.FragmentHeader{
		BackupID: "host.example_1700000000", Copy: 2, Number: 17, Start: 1 << 50, BlockSize: media.DefaultBlockSize,
		Continued: &media.Continuation{Path: strings.Repeat("long/", 1000) + "\xff\n=", Size: 1 << 40, Offset: 77},
	}
	e := media.EndHeader{MediaID: "A00001", BackupID: h.BackupID, Copy: 2, Number: 17, File: 35, Written: 5}
	lb, err1 := media.EncodeLabel(l)
	hb, err2 := media.EncodeFragmentHeader(h)
	eb, err3 := media.EncodeEndHeader(e)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if got, err := media.DecodeLabel(lb); err != nil || got != l {
		t.Errorf("%+v, %v", got, err)
	}
	got, n, err := media.DecodeFragmentHeader(append(bytes.Clone(hb), "data"...))
	if err != nil || n != len(hb) || !cmp.Equal(got, h) {
		t.Errorf("%+v, %d, %v", got, n, err)
	}
	if got, err := media.DecodeEndHeader(eb); err != nil || got != e {
		t.Errorf("%+v, %v", got, err)
	}
	for _, b := range [][]byte{hb, eb, nil, make([]byte, 4096), []byte(strings.Repeat("VOL1", 200))} {
		if _, err := media.DecodeLabel(b); !errors.Is(err, media.ErrForeign) {
			t.Errorf("as a label: %v", err)
		}
	}
	for i := 600; i < 700; i++ { // among the records
		b := bytes.Clone(lb)
		b[i] ^= 1
		if _, err := media.DecodeLabel(b); !errors.Is(err, media.ErrDamaged) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	if _, err := media.EncodeLabel(media.Label{MediaID: "X", Pool: "a\nb", BlockSize: media.DefaultBlockSize}); err == nil {
		t.Error("a line end in a label was taken")
	}
	if _, err := media.EncodeLabel(media.Label{MediaID: "X", BlockSize: 1000}); err == nil {
		t.Error("a block size of 1000 was taken")
	}
}

func TestPackerRefusesLateEntries(t *testing.T) {
	p := media.NewPacker(&slots{size: 4096}, media.Limits{})
	err := p.Put(ctx, &stream.Frame{Kind: stream.Data, Len: 1024, Bytes: make([]byte, 1024)})
	if err != nil {
		t.Fatal(err)
	}
	late := stream.Frame{Kind: stream.Member, Entries: []catalog.Entry{{Path: "/x", Offset: 512, HeadLen: 512}}}
	if err := p.Put(ctx, &late); err == nil {
		t.Error("an entry after its data was taken")
	}
}
