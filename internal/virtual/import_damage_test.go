package virtual

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"capstan/core/archive/pax"
	"capstan/core/bpimport"
	"capstan/core/bprd"
	"capstan/core/dev"
	"capstan/core/host"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/media"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/stream"
	simtree "capstan/sim/tree"
)

// remade changes the blocks of a cartridge.
func (n *trial) remade(id string, change func([][]byte) [][]byte) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) error { return remake(ctx, n.Library("media1"), id, change) })
}

// written are the blocks of a cartridge.
func (n *trial) written(id string) (blocks [][]byte) {
	n.t.Helper()
	n.remade(id, func(b [][]byte) [][]byte {
		blocks = slices.Clone(b)
		return b
	})
	return blocks
}

// file is where the blocks of a tape file begin and end.
func file(blocks [][]byte, number int) (from, to int) {
	for i, b := range blocks {
		if b != nil {
			continue
		}
		if number--; number < 0 {
			return from, i
		}
		from = i + 1
	}
	return from, len(blocks)
}

// edit changes the records of a header block, and their CRC with them.
func edit(t *testing.T, b []byte, change func([]pax.Record) []pax.Record) []byte {
	t.Helper()
	h, _, err := pax.ParseBlock(b[:512])
	if err != nil {
		t.Fatal(err)
	}
	recs, err := pax.ParseRecords(b[512 : 512+h.Size])
	if err != nil {
		t.Fatal(err)
	}
	recs = change(recs[:len(recs)-1])
	var sum uint32
	for _, r := range recs {
		sum = crc32.Update(sum, stream.Castagnoli, []byte(r.Key+"="+r.Value+"\n"))
	}
	recs = append(recs, pax.Record{Key: "CAPSTAN.crc32c", Value: fmt.Sprintf("%08x", sum)})
	return append(pax.AppendGlobal(nil, h.Name, recs), b[512+(h.Size+511)&^511:]...)
}

// set gives a record of a header another value.
func set(key, value string) func([]pax.Record) []pax.Record {
	return func(recs []pax.Record) []pax.Record {
		for i := range recs {
			if recs[i].Key == "CAPSTAN."+key {
				recs[i].Value = value
			}
		}
		return recs
	}
}

// older leaves out what headers did not say at first.
func older(recs []pax.Record) []pax.Record {
	return slices.DeleteFunc(recs, func(r pax.Record) bool {
		return slices.Contains([]string{
			"CAPSTAN.policy", "CAPSTAN.schedule", "CAPSTAN.type", "CAPSTAN.since", "CAPSTAN.retention", "CAPSTAN.expires", "CAPSTAN.paths", "CAPSTAN.exclude",
		}, r.Key)
	})
}

// three is a domain that has three images on one cartridge, and lost its master.
func three(t *testing.T) (*trial, []image.Header) {
	t.Helper()
	cfg := small()
	cfg.Hosts[2].Fill = func(ctx context.Context, fs *simtree.FS) error {
		return fs.WriteFile(ctx, "/data/file", content(1, 700_000))
	}
	cfg.Domain.Policies[0].Retention = 30 * day
	n := newTrial(t, cfg)
	n.until(hour)
	for range 3 {
		n.backup("docs")
	}
	all := n.images()
	if used := usedMedia(all); !slices.Equal(used, []string{"CAP001"}) || len(all) != 3 {
		t.Fatalf("%d images on %v", len(all), used)
	}
	n.lose()
	return n, all
}

// On the cartridge of three images the second is in files 3 (its data) and 4 (its
// trailer). Whatever is wrong with it, the others come back, it is named, and the
// cartridge is not written any more.
func TestImportDamaged(t *testing.T) {
	swap := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	for _, tt := range []struct {
		name   string
		spoil  func(t *testing.T, b [][]byte) [][]byte
		q      bprd.ImportRequest
		lost   []int // numbers of the images that are not imported
		status status.Code
		says   string
	}{
		{"nothing", func(_ *testing.T, b [][]byte) [][]byte { return b }, bprd.ImportRequest{}, nil, 0, "kept until"},
		{"a damaged header", func(_ *testing.T, b [][]byte) [][]byte {
			at, _ := file(b, 3)
			b[at] = swap(b[at], 700)
			return b
		}, bprd.ImportRequest{}, []int{1}, 1, "the trailer of fragment 1 of %s, whose header cannot be read"},
		{"a damaged trailer", func(_ *testing.T, b [][]byte) [][]byte {
			_, end := file(b, 4)
			b[end-1] = swap(b[end-1], 26)
			return b
		}, bprd.ImportRequest{}, []int{1}, 1, "fragment 1 of %s: trailer: block "},
		{"a trailer without its end", func(_ *testing.T, b [][]byte) [][]byte {
			_, end := file(b, 4)
			return slices.Delete(b, end-1, end)
		}, bprd.ImportRequest{}, []int{1}, 1, "fragment 1 of %s: trailer: it ends after"},
		{"no trailer", func(_ *testing.T, b [][]byte) [][]byte {
			at, end := file(b, 4)
			return slices.Delete(b, at, end+1)
		}, bprd.ImportRequest{}, []int{1}, 1, "fragment 1 of %s has no trailer"},
		{"another's trailer", func(_ *testing.T, b [][]byte) [][]byte {
			at, end := file(b, 2)
			first := slices.Clone(b[at:end])
			at, end = file(b, 4)
			return slices.Replace(b, at, end, first...)
		}, bprd.ImportRequest{}, []int{1}, 1, "it is that of fragment 1 of "},
		{"an empty file", func(_ *testing.T, b [][]byte) [][]byte {
			at, end := file(b, 3)
			return slices.Delete(b, at, end)
		}, bprd.ImportRequest{}, []int{1}, 1, "the file is empty"},
		{"somebody else's file", func(_ *testing.T, b [][]byte) [][]byte {
			at, end := file(b, 3)
			return slices.Replace(b, at, end, []byte(string(bytes.Repeat([]byte("x"), 2048))))
		}, bprd.ImportRequest{}, []int{1}, 1, "not a block of Capstan's"},
		{"a header of a newer program", func(t *testing.T, b [][]byte) [][]byte {
			at, _ := file(b, 3)
			b[at] = edit(t, b[at], set("format", "2"))
			return b
		}, bprd.ImportRequest{}, []int{1}, 1, "newer than this program"},
		{"a policy that is a path", func(t *testing.T, b [][]byte) [][]byte {
			at, _ := file(b, 3)
			b[at] = edit(t, b[at], set("policy", "../../etc/cron.d/x"))
			return b
		}, bprd.ImportRequest{}, []int{1}, 1, "cannot be the name of a client"},
		{"a backup id that is a path", func(t *testing.T, b [][]byte) [][]byte {
			at, _ := file(b, 3)
			b[at] = edit(t, b[at], set("backup", "../x_1700000000"))
			return b
		}, bprd.ImportRequest{}, []int{1}, 1, "cannot be the name of a client"},
		{"an image of the future", func(t *testing.T, b [][]byte) [][]byte {
			at, _ := file(b, 3)
			b[at] = edit(t, b[at], set("backup", "client1_9999999999"))
			return b
		}, bprd.ImportRequest{}, []int{1}, 1, "which is to come"},
		{"a second copy", func(t *testing.T, b [][]byte) [][]byte {
			at, _ := file(b, 3)
			b[at] = edit(t, b[at], set("copy", "2"))
			return b
		}, bprd.ImportRequest{}, []int{1}, 1, "copy 2 of image %s is not imported: only copy 1 of an image is"},
		{"nothing but second copies", func(t *testing.T, b [][]byte) [][]byte {
			for _, f := range []int{1, 3, 5} {
				at, _ := file(b, f)
				b[at] = edit(t, b[at], set("copy", "2"))
			}
			return b
		}, bprd.ImportRequest{}, []int{0, 1, 2}, status.NothingImported, "0 in the catalog already, 3 failures: copy 2 of image %s is not imported"},
		{"a block that was altered, not looked at", func(_ *testing.T, b [][]byte) [][]byte {
			at, _ := file(b, 3)
			b[at+1] = swap(b[at+1], 999)
			return b
		}, bprd.ImportRequest{}, nil, 0, ""},
		{"a block that was altered", func(_ *testing.T, b [][]byte) [][]byte {
			at, _ := file(b, 3)
			b[at+1] = swap(b[at+1], 999)
			return b
		}, bprd.ImportRequest{Verify: true}, []int{1}, 1, "fragment 1 on CAP001: block 0 has CRC-32C"},
		{"a tape that ends in the data of the third", func(_ *testing.T, b [][]byte) [][]byte {
			at, _ := file(b, 5)
			return b[:at+2]
		}, bprd.ImportRequest{}, []int{2}, 1, "image %s is not imported: fragment 1, on CAP001, file 5, has no trailer"},
		{"a tape that ends after the label", func(_ *testing.T, b [][]byte) [][]byte { return b[:2] }, bprd.ImportRequest{}, []int{0, 1, 2}, status.NoImage, ""},
		{"every trailer", func(_ *testing.T, b [][]byte) [][]byte {
			for _, f := range []int{2, 4, 6} {
				at, _ := file(b, f)
				b[at] = swap(b[at], 30)
			}
			return b
		}, bprd.ImportRequest{}, []int{0, 1, 2}, status.NothingImported, "0 images imported"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, all := three(t)
			n.remade("CAP001", func(b [][]byte) [][]byte { return tt.spoil(t, b) })
			was := n.written("CAP001")
			q := tt.q
			q.Media = []string{"CAP001L9"}
			var words []string
			if len(tt.lost) > 0 && tt.says != "" {
				words = append(words, named(tt.says, all[tt.lost[0]].ID))
			}
			n.imported(q, tt.status, words...)
			want := slices.DeleteFunc(idsOf(all), func(id string) bool {
				return slices.ContainsFunc(tt.lost, func(i int) bool { return all[i].ID == id })
			})
			if got := n.ids(); !slices.Equal(got, want) {
				t.Errorf("the catalog has %v, want %v", got, want)
			}
			m, left := n.cartridge("CAP001"), tt.status != 0 && tt.status != status.NoImage
			if m.Frozen != left || m.ByImport != left || m.Images != len(want) || m.Full != (tt.status != status.NoImage) {
				t.Errorf("the cartridge: %+v", m)
			}
			if len(want) > 0 {
				n.restores("client1", "/back")
				n.same("client1", "/back/data/file", content(1, 700_000))
			}
			n.notWritten(was, left)
		})
	}
}

// named puts a name into words that have a place for one.
func named(text, id string) string {
	if bytes.Contains([]byte(text), []byte("%s")) {
		return fmt.Sprintf(text, id)
	}
	return text
}

// notWritten checks that backups leave a frozen cartridge as it is, also when all
// images of it that are in the catalog have expired.
func (n *trial) notWritten(was [][]byte, frozen bool) {
	n.t.Helper()
	if !frozen {
		return
	}
	n.expire(n.ids()...)
	n.backup("docs")
	if got := n.written("CAP001"); !slices.EqualFunc(got, was, bytes.Equal) {
		n.t.Errorf("the cartridge was written: %d blocks, %d before", len(got), len(was))
	}
	// A person may thaw it; what was never in the catalog takes more to be overwritten.
	frozenNot := false
	n.as("desk", func(ctx context.Context) error {
		_, err := nbemm.ChangeMedia.Call(ctx, pbx.At("master", nbemm.Service), nbemm.MediaChange{ID: "CAP001", Frozen: &frozenNot})
		return err
	})
	if m := n.cartridge("CAP001"); m.Frozen || m.ByImport || m.UUID != "" {
		n.t.Errorf("thawed: %+v", m)
	}
}

// Media that were written before headers said of which policy an image is, and headers
// with a retention that is over.
func TestImportOlder(t *testing.T) {
	for _, tt := range []struct {
		name      string
		change    func([]pax.Record) []pax.Record
		retention time.Duration
		policy    string
		kept      time.Duration
		says      string
	}{
		{"no policy", older, 0, "imported", 0, "imported as one of policy"},
		{"no policy, and a retention", older, 7 * day, "imported", 7 * day, "imported as one of policy"},
		{"expired long ago", set("expires", "1000000000"), 0, "docs", 30 * day, "was to be kept until 2001-09-09"},
		{"expired long ago, and a retention", set("expires", "1000000000"), 7 * day, "docs", 7 * day, ""},
		{"for ever", set("expires", "1000000000"), -1, "docs", 0, "kept for ever"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, all := three(t)
			n.remade("CAP001", func(b [][]byte) [][]byte {
				for _, f := range []int{1, 3, 5} {
					at, _ := file(b, f)
					b[at] = edit(t, b[at], tt.change)
				}
				return b
			})
			n.imported(bprd.ImportRequest{Media: []string{"CAP001"}, Retention: tt.retention}, status.OK, tt.says)
			got := n.images()
			if !slices.Equal(idsOf(got), idsOf(all)) {
				t.Fatalf("the catalog has %v, want %v", idsOf(got), idsOf(all))
			}
			for _, h := range got {
				want := rt.Time(0)
				if tt.kept > 0 {
					want = h.Imported.Add(tt.kept)
				}
				if h.Policy != tt.policy || h.Expires != want {
					t.Errorf("%+v", h)
				}
				if tt.policy == "imported" && h.Type != string(policy.Differential) {
					t.Errorf("an image of unknown type is taken for %s", h.Type)
				}
			}
			n.restores("client1", "/back")
			n.same("client1", "/back/data/file", content(1, 700_000))
		})
	}
}

// A cartridge that is not ours is left alone, and so is one with another's label.
func TestImportForeign(t *testing.T) {
	foreign := [][]byte{append([]byte("VOL1FOREIG"), make([]byte, 70)...), nil, make([]byte, 10240), nil}
	for _, tt := range []struct {
		name, says string
		status     status.Code
		blocks     func(t *testing.T, own [][]byte) [][]byte
	}{
		{"somebody else's", "has no label of ours", status.ImportImpossible, func(*testing.T, [][]byte) [][]byte { return foreign }},
		{"blank", "is blank", status.ImportImpossible, func(*testing.T, [][]byte) [][]byte { return nil }},
		{"the label of another cartridge", "has the label of CAP001", status.WrongMedia, func(_ *testing.T, own [][]byte) [][]byte { return own }},
		{"a label without a UUID", "has no UUID", status.ImportImpossible, func(t *testing.T, own [][]byte) [][]byte {
			own = slices.Clone(own)
			own[0] = edit(t, edit(t, own[0], set("media", "CAP002")), set("uuid", ""))
			return own
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, all := three(t)
			own := n.written("CAP001")
			if tt.name == "blank" {
				n.as("desk", func(context.Context) error { return nil })
			} else {
				n.remade("CAP002", func([][]byte) [][]byte { return tt.blocks(t, own) })
			}
			was := n.written("CAP002")
			n.imported(bprd.ImportRequest{Media: []string{"CAP002"}}, tt.status, tt.says)
			if m := n.cartridge("CAP002"); m.UUID != "" || m.Frozen || m.Images != 0 || m.Pool != nbemm.Scratch {
				t.Errorf("the cartridge: %+v", m)
			}
			n.imported(bprd.ImportRequest{Media: []string{"CAP002", "CAP001"}}, status.Partial, tt.says)
			if got := n.ids(); !slices.Equal(got, idsOf(all)) {
				t.Errorf("the catalog has %v, want %v", got, idsOf(all))
			}
			if got := n.written("CAP002"); !slices.EqualFunc(got, was, bytes.Equal) {
				t.Error("the cartridge was written")
			}
		})
	}
}

// What cannot be asked for is refused with a reason, and nothing is done.
func TestImportRefused(t *testing.T) {
	n, _ := three(t)
	for _, tt := range []struct {
		name, says string
		q          bprd.ImportRequest
		status     status.Code
	}{
		{"an unknown cartridge", "CAP999 is not known", bprd.ImportRequest{Media: []string{"CAP999"}}, status.MediaNotDefined},
		{"an unknown unit", `no disk unit "attic"`, bprd.ImportRequest{Storage: "attic"}, status.NoStorageUnit},
		{"a tape unit", "name the cartridges", bprd.ImportRequest{Storage: "tape"}, status.NoStorageUnit},
		{"an empty disk", "no image on the media", bprd.ImportRequest{Storage: "disk"}, status.NoImage},
	} {
		t.Run(tt.name, func(t *testing.T) { n.imported(tt.q, tt.status, tt.says) })
	}
	if got := n.images(); len(got) > 0 {
		t.Errorf("%d images", len(got))
	}
}

// A cartridge of an image that spans is missing: the image is not imported, and it is
// said what of it is missing. With all of them it is.
func TestImportMissingCartridge(t *testing.T) {
	for _, tt := range []struct {
		name    string
		missing func(used []string) string
		says    []string
	}{
		{"the first", func(used []string) string { return used[0] }, []string{"fragments 1 to ", " says that the one before it is on CAP001"}},
		{"one between", func(used []string) string { return used[1] }, []string{" not found", "give the cartridges that hold them"}},
		{"the last", func(used []string) string { return used[len(used)-1] }, []string{"it goes on after fragment ", "give the cartridge that follows"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newTrial(t, spanning())
			n.until(hour)
			n.backup("docs")
			before := n.images()
			used := usedMedia(before)
			if len(used) < 3 {
				t.Fatalf("the image is on %v", used)
			}
			n.lose()
			some := slices.DeleteFunc(slices.Clone(used), func(id string) bool { return id == tt.missing(used) })
			n.imported(bprd.ImportRequest{Media: some}, status.NothingImported, append(tt.says, before[0].ID)...)
			if got := n.images(); len(got) > 0 {
				t.Errorf("%d images are shown", len(got))
			}
			for _, id := range some {
				if m := n.cartridge(id); !m.Frozen || !m.ByImport {
					t.Errorf("the cartridge: %+v", m)
				}
			}
			n.imported(bprd.ImportRequest{Media: used}, status.OK)
			if got := n.images(); len(got) != 1 || len(got[0].Fragments) != len(before[0].Fragments) {
				t.Errorf("%+v", got)
			}
			for _, id := range used {
				if m := n.cartridge(id); m.Frozen || m.ByImport || m.Images != 1 || !m.Full {
					t.Errorf("the cartridge: %+v", m)
				}
			}
			n.restores("client1", "/all")
			for i := range spanFiles {
				n.same("client1", fmt.Sprintf("/all/data/%02d/file", i), content(i, spanSize))
			}
			n.same("client1", "/all/data/big", content(99, 21<<20))
		})
	}
}

// A trailer that did not fit any more is the first file of the next cartridge.
func TestImportTrailerOnTheNextCartridge(t *testing.T) {
	for _, q := range []bprd.ImportRequest{{}, {Verify: true}} {
		n := newTrial(t, spanning())
		n.until(hour)
		n.backup("docs")
		before := n.images()
		used := usedMedia(before)
		n.lose()
		var moved [][]byte
		n.remade(used[0], func(b [][]byte) [][]byte {
			last := len(b) - 1
			for !media.IsTrailer(b[last]) {
				last--
			}
			first := last
			for media.IsTrailer(b[first-1]) {
				first--
			}
			moved = append(slices.Clone(b[first:last+1]), nil)
			return b[:first]
		})
		n.remade(used[1], func(b [][]byte) [][]byte {
			files := 0
			for _, x := range b {
				if x == nil {
					files++
				}
			}
			end := len(b) - 2 // the end header, one file later now
			b[end] = edit(t, b[end], set("file", strconv.Itoa(files)))
			return slices.Insert(b, 2, moved...)
		})
		q.Media = used
		if q.Verify {
			n.imported(q, status.NothingImported, "cannot be verified")
			continue
		}
		n.imported(q, status.OK)
		n.restores("client1", "/all")
		n.same("client1", "/all/data/big", content(99, 21<<20))
	}
}

// sweep is a short domain of two images, one of which spans.
func sweep(t *testing.T) (n *trial, before []image.Header, q bprd.ImportRequest) {
	t.Helper()
	cfg := small()
	l := &cfg.Libraries[0].Config
	for i := range l.Cartridges {
		l.Cartridges[i].Capacity, l.Cartridges[i].Reserve = 6<<20, 1<<20
	}
	cfg.Domain.Units[0].FragmentSize = 2 << 20
	cfg.Hosts[2].Fill = func(ctx context.Context, fs *simtree.FS) error {
		return fs.WriteFile(ctx, "/data/file", content(1, 3_500_000))
	}
	n = newTrial(t, cfg)
	n.until(hour)
	n.backup("docs")
	n.backup("docs")
	before = n.images()
	q.Media = usedMedia(before)
	if len(q.Media) < 2 {
		t.Fatalf("the images are on %v", q.Media)
	}
	n.lose()
	return n, before, q
}

// sound checks that what the catalog has is whole, and that an import without trouble
// brings the rest.
func (n *trial) sound(before []image.Header, q bprd.ImportRequest) {
	n.t.Helper()
	for _, h := range n.images() {
		i := slices.Index(idsOf(before), h.ID)
		if i < 0 || h.Bytes != before[i].Bytes || h.Files != before[i].Files || len(h.Fragments) != len(before[i].Fragments) || h.Began != before[i].Began {
			n.t.Errorf("an image is half: %+v", h)
		}
	}
	for _, id := range q.Media {
		if m := n.cartridge(id); m.UUID != "" && !m.Frozen && !m.Full {
			n.t.Errorf("a cartridge may be written: %+v", m)
		}
	}
	j := n.imports(q)
	if j.Status != 0 {
		n.t.Errorf("the next import: status %d, %s\n%s", j.Status, j.Detail, n.log(j.ID))
	}
	if got := n.ids(); !slices.Equal(got, idsOf(before)) {
		n.t.Errorf("the catalog has %v, want %v", got, idsOf(before))
	}
	for _, id := range q.Media {
		if m := n.cartridge(id); m.Frozen || !m.Full || m.Images == 0 {
			n.t.Errorf("the cartridge: %+v", m)
		}
	}
	n.restores("client1", "/back")
	n.same("client1", "/back/data/file", content(1, 3_500_000))
	n.as("desk", func(ctx context.Context) error {
		for _, x := range leftovers(ctx, n.World, len(before)) {
			n.t.Error(x)
		}
		return nil
	})
}

// An operation of the drive fails, any one: nothing is half, and the next import
// brings what is missing.
func TestImportDeviceErrors(t *testing.T) {
	for _, op := range []string{dev.OpRead, dev.OpSpace, dev.OpLocate, dev.OpPosition, dev.OpLoad} {
		t.Run(op, func(t *testing.T) {
			for skip := range 2 * kills() {
				n, before, q := sweep(t)
				n.Library("media1").Inject(dev.Fault{Op: op, Skip: skip, Err: dev.ErrMedium})
				j := n.imports(q)
				n.Library("media1").ClearFaults()
				n.rest(5 * time.Minute)
				if n.sound(before, q); t.Failed() {
					t.Fatalf("after %d operations: the import ended with status %d, %s\n%s", skip, j.Status, j.Detail, n.log(j.ID))
				}
			}
		})
	}
}

// A process of an import is killed, a host restarted, or the job cancelled, at many
// moments.
func TestImportKilled(t *testing.T) {
	const cancel = "a person cancels"
	for _, victim := range []string{"media1/bptm/1/1/0", "media1/bpbrm/1/1/0", "master", "media1", cancel} {
		t.Run(victim, func(t *testing.T) {
			statuses := map[status.Code]int{}
			for i := range kills() {
				n, before, q := sweep(t)
				after := time.Duration(i) * 600 * time.Second / time.Duration(kills()-1)
				n.At(n.Mono()+after+time.Millisecond, func() {
					if h := n.Host(victim); h != nil {
						h.Restart(30 * time.Second)
					} else if victim == cancel {
						n.cancels()
					} else {
						n.Kill(pbx.Addr(victim))
					}
				})
				j := n.importsAnyway(q)
				statuses[j.Status]++
				n.rest(5 * time.Minute)
				if n.sound(before, q); t.Failed() {
					t.Fatalf("after %v: the import ended with status %d, %s\n%s", after, j.Status, j.Detail, n.log(j.ID))
				}
			}
			if len(statuses) < 2 && !testing.Short() {
				t.Errorf("the imports ended with %v: the moments are not those of an import", statuses)
			}
		})
	}
}

// importsAnyway runs an import whose master may be restarted meanwhile.
func (n *trial) importsAnyway(q bprd.ImportRequest) (j job.Job) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) error {
		_, err := bpimport.Ask(ctx, "master", q)
		for range 3600 {
			if j, err = runJob(ctx, "master", 1); err == nil {
				return nil
			}
			if serr := rt.Sleep(ctx, time.Second); serr != nil {
				return serr
			}
		}
		return err
	})
	return j
}

// cancels has the first job cancelled, if it runs.
func (n *trial) cancels() {
	n.Host("desk").Spawn("cancel", func(ctx context.Context, _ *host.Env) error {
		if _, err := bprd.Cancel.Call(ctx, pbx.At("master", bprd.Service), bprd.CancelJob{Job: 1}); err != nil && status.Of(err, 0) != status.NotFound {
			return err
		}
		return nil
	})
}

// What stands on media in planning runs has no bytes, and is imported as well.
func TestImportHollow(t *testing.T) {
	for _, storage := range []string{"tape", "disk"} {
		cfg := small()
		cfg.Domain.Units[0].FragmentSize, cfg.Domain.Units[1].FragmentSize = 1<<40, 1<<40
		cfg.Hosts[2].Fill = func(ctx context.Context, fs *simtree.FS) error {
			return fs.AddHollow(ctx, "/data", simtree.Hollow{Files: 1_000_000, Bytes: 3 << 40}, rand.New(rand.NewPCG(1, 2)))
		}
		n := newTrial(t, cfg)
		n.until(hour)
		q := bprd.ImportRequest{Verify: true}
		if storage == "tape" {
			n.backup("docs")
			q.Media = usedMedia(n.images())
		} else {
			n.backup("docs-disk")
			q.Storage = "disk"
		}
		before := n.images()
		n.lose()
		n.imported(q, status.OK)
		own := cmpopts.IgnoreFields(image.Header{}, "Job", "Try", "Ended", "Imported")
		if d := cmp.Diff(before, n.images(), own); d != "" || before[0].Files < 1_000_000 {
			t.Errorf("%s: the images are not as they were: %s", storage, d)
		}
		n.restores("client1", "/back")
	}
}
