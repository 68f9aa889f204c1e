package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"capstan/core/bpdbm"
	"capstan/core/bpimport"
	"capstan/core/bpjobd"
	"capstan/core/bprd"
	"capstan/core/catalog"
	"capstan/core/daemon"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/nbpem"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	simstore "capstan/sim/store"
	simtree "capstan/sim/tree"
)

// lose has the master lose all that it knew, and start anew.
func (n *trial) lose() {
	n.t.Helper()
	h, st := n.Host("master"), n.states["master"]
	h.Restart(time.Second)
	st.db, st.dirs = simstore.NewDB(daemon.Schemas()...), map[string]*simstore.Dir{}
	n.rest(5 * time.Minute)
}

// rest lives on for a while.
func (n *trial) rest(d time.Duration) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) error { return rt.Sleep(ctx, d) })
}

// imports runs an import.
func (n *trial) imports(q bprd.ImportRequest) (j job.Job) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) error {
		id, err := bpimport.Ask(ctx, "master", q)
		if err == nil {
			j, err = runJob(ctx, "master", id)
		}
		return err
	})
	return j
}

// imported runs an import, checks how it ended, and that its log says words.
func (n *trial) imported(q bprd.ImportRequest, code status.Code, words ...string) job.Job {
	n.t.Helper()
	j := n.imports(q)
	text := n.log(j.ID) + "\n" + j.Detail
	if j.Status != code || j.Type != job.Import {
		n.t.Errorf("the import ended with status %d, want %d: %s\n%s", j.Status, code, j.Detail, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			n.t.Errorf("the log of the import does not say %q:\n%s", w, text)
		}
	}
	return j
}

// log is the text of a job's log.
func (n *trial) log(id int64) (text string) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) error {
		p, err := bpjobd.ReadLog.Call(ctx, pbx.At("master", bpjobd.Service), bpjobd.LogQuery{Job: id})
		for _, l := range p.Lines {
			text += l.Text + "\n"
		}
		return err
	})
	return text
}

// backs runs the backups of a policy's clients, which must succeed.
func (n *trial) backs(policyName, schedule string) {
	n.t.Helper()
	for _, id := range n.start(nbpem.Backup{Policy: policyName, Schedule: schedule}) {
		n.as("desk", func(ctx context.Context) error {
			j, err := runJob(ctx, "master", id)
			if err == nil && !j.Status.Succeeded() {
				err = fmt.Errorf("backup of %s: status %d, %s", j.Client, j.Status, j.Detail)
			}
			return err
		})
	}
}

// restores restores a client's newest files to a directory, which must succeed.
func (n *trial) restores(client, target string) {
	n.t.Helper()
	n.as("desk", func(ctx context.Context) error {
		r, err := restoreOnce(ctx, bprd.Request{Client: client, Target: target})
		if err == nil && r.Status != 0 {
			err = fmt.Errorf("restore of %s: status %d, %s", client, r.Status, r.Detail)
		}
		return err
	})
}

// same checks a file of a client.
func (n *trial) same(client, name string, want []byte) {
	n.t.Helper()
	if got, err := n.Files(client).ReadFile(name); err != nil || !bytes.Equal(got, want) {
		n.t.Errorf("%s of %s: %v, %d bytes, want %d", name, client, err, len(got), len(want))
	}
}

// usedMedia are the cartridges of images.
func usedMedia(all []image.Header) (ids []string) {
	for _, h := range all {
		for _, f := range h.Fragments {
			if f.OnTape() && !slices.Contains(ids, f.Media) {
				ids = append(ids, f.Media)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// both is the spanning domain with a second client, and policies of full and
// differential backups of both to tape and to disk. client1 has not all paths: its
// images have status 1.
func both() Config {
	cfg := spanning()
	cfg.Hosts = append(cfg.Hosts, Host{Name: "client2", Kinds: pbx.Client, Fill: func(ctx context.Context, fs *simtree.FS) error {
		return errors.Join(fs.WriteFile(ctx, "/data/other", content(7, 3_000_000)), fs.WriteFile(ctx, "/other/file", content(8, 3)))
	}})
	cfg.Domain.Policies = nil
	for _, storage := range []string{"tape", "disk"} {
		cfg.Domain.Policies = append(cfg.Domain.Policies, policy.Policy{
			Name: storage, Clients: []string{"client1", "client2"}, Paths: []string{"/data", "/other"}, Exclude: []string{"*.tmp\n"}, Storage: storage, Retention: 30 * day,
			Schedules: []policy.Schedule{{Name: "full", Type: policy.Full}, {Name: "diff", Type: policy.Differential, Retention: 10 * day}},
		})
	}
	return cfg
}

// wrote makes a full and a differential backup of both clients.
func (n *trial) wrote(policyName string) []image.Header {
	n.t.Helper()
	n.until(hour)
	n.backs(policyName, "full")
	n.as("client1", func(ctx context.Context) error {
		return n.Files("client1").WriteFile(ctx, "/data/03/later", content(50, 1234))
	})
	n.backs(policyName, "diff")
	return n.images()
}

// restored restores both clients and compares.
func (n *trial) restored() {
	n.t.Helper()
	n.restores("client1", "/back")
	n.restores("client2", "/back")
	for i := range spanFiles {
		n.same("client1", fmt.Sprintf("/back/data/%02d/file", i), content(i, spanSize))
	}
	n.same("client1", "/back/data/03/later", content(50, 1234))
	n.same("client1", "/back/data/big", content(99, 21<<20))
	n.same("client2", "/back/data/other", content(7, 3_000_000))
}

// The master has lost all that it knew. What stands on the media comes back into its
// catalog as it was, is restored byte for byte, and is what later backups build on.
func TestImport(t *testing.T) {
	for _, tt := range []struct {
		name, policy string
		cfg          Config
		q            bprd.ImportRequest
	}{
		{"tape", "tape", both(), bprd.ImportRequest{}},
		{"tape, every block verified", "tape", both(), bprd.ImportRequest{Verify: true}},
		{"tape by SCSI commands", "tape", bySCSI(both()), bprd.ImportRequest{}},
		{"disk", "disk", both(), bprd.ImportRequest{Storage: "disk"}},
		{"disk, every block verified", "disk", both(), bprd.ImportRequest{Storage: "disk", Verify: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newTrial(t, tt.cfg)
			before := n.wrote(tt.policy)
			q := tt.q
			if q.Storage == "" {
				q.Media = usedMedia(before)
				slices.Reverse(q.Media) // any order will do
				if len(q.Media) < 3 {
					t.Fatalf("the images are on %v", q.Media)
				}
			}
			files := n.listed(before)
			n.lose()
			n.dryRun(q, before)
			n.imported(q, status.OK, "fragments 1 to ")
			n.isBack(before)
			n.sameFiles(files, n.listed(before))
			n.restored()
			n.goesOn(tt.policy, before)
			n.imported(q, status.OK, "in the catalog already")
			n.leaves(before)
		})
	}
}

// dryRun checks that a dry run says what there is, and changes nothing.
func (n *trial) dryRun(q bprd.ImportRequest, before []image.Header) {
	n.t.Helper()
	q.DryRun = true
	var words []string
	for _, h := range before {
		words = append(words, "image "+h.ID+" (policy "+h.Policy+", "+h.Type+")")
	}
	n.imported(q, status.OK, words...)
	if got := n.images(); len(got) != 0 {
		n.t.Errorf("a dry run left %d images", len(got))
	}
	for _, id := range q.Media {
		if m := n.cartridge(id); m.UUID != "" || m.Frozen || m.Full || m.Pool != nbemm.Scratch {
			n.t.Errorf("a dry run left cartridge %+v", m)
		}
	}
}

// listed are the entries that the catalog has of images.
func (n *trial) listed(all []image.Header) map[string][]catalog.Entry {
	n.t.Helper()
	files := map[string][]catalog.Entry{}
	n.as("desk", func(ctx context.Context) error {
		for _, h := range all {
			p, err := bpdbm.ListDir.Call(ctx, pbx.At("master", bpdbm.Service), bpdbm.Dir{BackupID: h.ID, Path: "/", Recursive: true})
			if err != nil || p.More {
				return fmt.Errorf("the files of %s: more %v, %w", h.ID, p.More, err)
			}
			files[h.ID] = p.Entries
		}
		return nil
	})
	return files
}

// sameFiles compares what the catalog has of the files, the CRCs of their contents too.
func (n *trial) sameFiles(want, got map[string][]catalog.Entry) {
	n.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		n.t.Errorf("the files in the catalog are not as they were: %s", d)
	}
	for id, es := range got {
		for _, e := range es {
			if e.Type == catalog.Regular && e.Size > 0 && e.CRC == 0 {
				n.t.Errorf("the CRC of %s of %s is not known", e.Path, id)
			}
		}
	}
}

// isBack checks that the catalog has the images as it had them.
func (n *trial) isBack(before []image.Header) {
	n.t.Helper()
	after := n.images()
	own := cmpopts.IgnoreFields(image.Header{}, "Job", "Try", "Expires", "Ended", "Imported")
	if d := cmp.Diff(before, after, own, cmpopts.EquateEmpty()); d != "" {
		n.t.Errorf("the images are not as they were: %s", d)
	}
	for _, h := range after {
		want := 30 * day
		if h.Type == string(policy.Differential) {
			want = 10 * day
		}
		if h.Imported == 0 || h.Expires.Sub(h.Imported) != want {
			n.t.Errorf("image %s was imported at %v and is kept until %v", h.ID, h.Imported, h.Expires)
		}
	}
	for _, id := range usedMedia(after) {
		if m := n.cartridge(id); m.Images == 0 || !m.Full || m.Frozen || m.ByImport || m.UUID == "" || m.Pool != nbemm.DefaultPool {
			n.t.Errorf("after the import: %+v", m)
		}
	}
}

// goesOn checks that the next incremental builds on what was imported, and is not
// written to the same cartridges.
func (n *trial) goesOn(policyName string, before []image.Header) {
	n.t.Helper()
	n.backs(policyName, "diff")
	after := n.images()
	if len(after) != len(before)+2 {
		n.t.Fatalf("%d images, after %d were imported and 2 written", len(after), len(before))
	}
	for _, h := range after {
		if slices.ContainsFunc(before, func(o image.Header) bool { return o.ID == h.ID }) {
			continue
		}
		last := before[slices.IndexFunc(before, func(o image.Header) bool { return o.Client == h.Client && o.Type == string(policy.Differential) })]
		if h.Type != string(policy.Differential) || h.Since != last.Began {
			n.t.Errorf("image %s of type %s builds on %v, that before began at %v", h.ID, h.Type, h.Since, last.Began)
		}
		if slices.ContainsFunc(usedMedia([]image.Header{h}), func(id string) bool { return slices.Contains(usedMedia(before), id) }) {
			n.t.Errorf("image %s was written to an imported cartridge", h.ID)
		}
	}
}

// leaves checks that images that were imported expire as others do.
func (n *trial) leaves(before []image.Header) {
	n.t.Helper()
	c := n.expire(idsOf(before)...)
	if d := cmp.Diff(usedMedia(before), c.Freed, cmpopts.EquateEmpty()); d != "" || len(c.Expired) != len(before) || len(c.Pending) > 0 {
		n.t.Errorf("what was freed: %s; %+v", d, c)
	}
	if left := n.files("media1", "/backups"); slices.ContainsFunc(left, func(name string) bool {
		return slices.ContainsFunc(before, func(h image.Header) bool { return strings.HasPrefix(name, h.ID) })
	}) {
		n.t.Errorf("these files are left: %q", left)
	}
}

func idsOf(all []image.Header) (ids []string) {
	for _, h := range all {
		ids = append(ids, h.ID)
	}
	return ids
}

// traversed counts how often an import has read each cartridge, as its log says.
func (n *trial) traversed(id int64) map[string]int {
	n.t.Helper()
	times := map[string]int{}
	for _, line := range strings.Split(n.log(id), "\n") {
		if text, ok := strings.CutPrefix(line, "reading cartridge "); ok {
			name, _, _ := strings.Cut(text, " ")
			times[name]++
		}
	}
	return times
}

// However cartridges are named, one is read again only for a fragment that can be taken then.
func TestImportReadsAgainOnlyForMore(t *testing.T) {
	n := newTrial(t, both())
	before := n.wrote("tape")
	all := usedMedia(before)
	first := before[slices.IndexFunc(before, func(h image.Header) bool { return len(usedMedia([]image.Header{h})) >= 3 })]
	if n.lose(); len(all) < 3 {
		t.Fatalf("the images are on %v", all)
	}
	q := bprd.ImportRequest{DryRun: true, Media: all}
	once := n.traversed(n.imported(q, status.OK).ID)
	for _, id := range all {
		if once[id] != 1 {
			t.Errorf("in order, cartridge %s was read %d times", id, once[id])
		}
	}
	// Without the first cartridge the image that begins there cannot be had, and what
	// else is on the others is taken at once.
	q.Media = slices.DeleteFunc(slices.Clone(all), func(id string) bool { return id == first.Fragments[0].Media })
	j := n.imported(q, status.Partial, "image "+first.ID+" is not imported")
	for id, times := range n.traversed(j.ID) {
		if times != 1 {
			t.Errorf("without the first cartridge, %s was read %d times", id, times)
		}
	}
	// Backwards each but the first waits for the one before, and is read once more.
	q.Media = slices.Clone(all)
	slices.Reverse(q.Media)
	sum := 0
	for _, times := range n.traversed(n.imported(q, status.OK).ID) {
		sum += times
	}
	if most := 2*len(all) - 1; sum > most {
		t.Errorf("backwards, %d cartridges were read %d times, want at most %d", len(all), sum, most)
	}
}
