package fuse_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/job"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/stage"
	"capstan/fuse"
	"capstan/internal/real"
	"capstan/internal/real/loopback"
	"capstan/internal/sametree"
	"capstan/scenarios"
)

func TestMain(m *testing.M) {
	loopback.Reexec()
	os.Exit(m.Run())
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a domain of real processes, a tree that its client has, and a mount on that
// client's host.
type rig struct {
	*testing.T
	domain *loopback.Domain
	ctx    context.Context // the operator's
	tree   string
	dir    string // the mount
	client *real.Session
	mount  *fuse.Mount
	policy string
	debug  bool  // requests are logged
	limit  int64 // of what is staged, 0 is very much
}

// newRig makes the domain; timing is how many times faster than the hardware its library
// is, 0 at once.
func newRig(t *testing.T, timing int64) *rig {
	t.Helper()
	library := real.StarterLibrary("vtl1")
	library.Timing = scenarios.Timing(timing)
	return newRigWith(t, library)
}

func newRigWith(t *testing.T, library scenarios.Library) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("a whole domain of processes: run without -short")
	}
	dir, err := os.MkdirTemp("", "cm") // short: sockets are below it
	ok(t, err)
	t.Cleanup(func() { ok(t, os.RemoveAll(dir)) })
	d, err := loopback.New(t.Context(), loopback.Options{Dir: filepath.Join(dir, "d"), Command: loopback.Self, Library: library})
	ok(t, err)
	t.Cleanup(func() { ok(t, d.Close()) })
	s, err := d.Session(context.WithoutCancel(t.Context()))
	ok(t, err)
	r := &rig{T: t, domain: d, ctx: s.Context(), tree: filepath.Join(dir, "tree"), dir: filepath.Join(dir, "mnt"), policy: "docs"}
	ok(t, os.MkdirAll(r.tree, 0o755))
	ok(t, os.MkdirAll(r.dir, 0o755))
	return r
}

// backup backs the tree up, to a storage unit.
func (r *rig) backup(storage string) {
	r.Helper()
	ok(r.T, r.domain.PutPolicy(r.ctx, policy.Policy{
		Name: r.policy, Active: true, Clients: []string{loopback.Client}, Paths: []string{r.tree}, Storage: "tape",
		Schedules: []policy.Schedule{{Name: "full", Type: policy.Full}, {Name: "incr", Type: policy.Differential}},
	}))
	j, err := r.domain.Backup(r.ctx, r.policy, storage, nil)
	ok(r.T, err)
	if j.Status != 0 {
		r.Fatalf("the backup ended with status %d: %s", j.Status, j.Detail)
	}
}

// show mounts the catalog on the client's host.
func (r *rig) show(rules stage.Rules) {
	r.Helper()
	s, err := real.Open(context.WithoutCancel(r.Context()), r.domain.Config(loopback.Client), "mount")
	ok(r.T, err)
	r.client = s
	r.mount, err = fuse.New(r.dir, fuse.Config{
		Task: s.Task, Master: s.Master(), Host: s.Host(), Stage: filepath.Join(filepath.Dir(r.dir), "stage"), Limit: cmp.Or(r.limit, 1<<30), AllowOther: true,
		Rules: rules, Debug: r.debug, Log: slog.New(slog.NewTextHandler(r.Output(), nil)),
	})
	ok(r.T, err)
	r.Cleanup(func() {
		_ = exec.Command("umount", "-l", r.dir).Run() // it may be unmounted
		r.mount.Wait()
		s.Close()
	})
}

// latest is the tree in the mount.
func (r *rig) latest() string {
	return filepath.Join(r.dir, "clients", loopback.Client, r.policy, "latest", r.tree)
}

// run runs a command, as another process: a program may not wait for a file system that
// itself is.
func (r *rig) run(command string) string {
	r.Helper()
	out, err := r.try(command)
	if err != nil {
		r.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

func (r *rig) try(command string) (string, error) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "bash", "-c", command)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return out.String(), err
}

// same compares the tree with a copy. That two names are of one file is not seen in the
// mount: a catalog does not tell how many names a file has.
func (r *rig) same(what, copied string) {
	r.Helper()
	report, err := sametree.Compare(r.tree, copied)
	ok(r.T, err)
	differences := slices.DeleteFunc(report.Differences, func(d string) bool { return strings.Contains(d, "was one file with") })
	if len(differences) > 0 || report.Different > 1 || report.Entries < 10 {
		r.Errorf("%s: %d entries, %d differ: %s", what, report.Entries, report.Different, strings.Join(differences, "; "))
	}
}

// restores are the restore jobs so far.
func (r *rig) restores() (jobs []job.Job) {
	r.Helper()
	p, err := bpjobd.List.Call(r.ctx, pbx.At(loopback.Master, bpjobd.Service), bpjobd.Query{})
	ok(r.T, err)
	for _, j := range p.Jobs {
		if j.Type == job.Restore {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// plant fills the tree with what trees have.
func (r *rig) plant() {
	r.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	for d := range 5 {
		sub := filepath.Join(r.tree, fmt.Sprintf("dir%d", d), "deeper")
		ok(r.T, os.MkdirAll(sub, 0o750))
		for f := range 20 {
			b := make([]byte, rnd.IntN(40_000))
			for i := range b {
				b[i] = byte(rnd.Uint32())
			}
			ok(r.T, os.WriteFile(filepath.Join(sub, fmt.Sprintf("file %d.txt", f)), b, 0o640))
		}
	}
	r.run(`cd ` + r.tree + ` && truncate -s 5M sparse && printf x | dd of=sparse bs=1 seek=3000000 conv=notrunc status=none &&
		ln -s dir0/deeper link && ln sparse hard && mkfifo pipe && touch empty && printf secret >locked && chmod 000 locked &&
		printf odd >"$(printf 'n\xff\nme')" && find . -depth -exec touch -h -d '2024-05-06 07:08:09.123456789' {} + && touch -d '2001-02-03 04:05:06.789012345' dir0/deeper`) // rsync leaves a directory's time that differs by parts of a second
}
