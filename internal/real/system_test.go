package real_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/bpdbm"
	"capstan/core/bprd"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/internal/real"
	"capstan/internal/real/loopback"
	"capstan/internal/sametree"
)

// policy puts a policy for some paths of the client.
func (f *fixture) policy(t *testing.T, name string, paths ...string) {
	t.Helper()
	ok(t, f.PutPolicy(f.ctx, policy.Policy{
		Name: name, Active: true, Clients: []string{loopback.Client}, Paths: paths, Storage: "tape",
		Schedules: []policy.Schedule{{Name: "full", Type: policy.Full}},
	}))
}

// backUpAs makes a backup with a policy that must end with a status.
func (f *fixture) backUpAs(t *testing.T, policy, storage string, want status.Code) job.Job {
	t.Helper()
	id, err := f.StartBackup(f.ctx, policy, storage)
	ok(t, err)
	j, err := f.wait(id)
	f.ended(t, j, err, want)
	return j
}

// restore makes a restore that must end with a status.
func (f *fixture) restore(t *testing.T, q bprd.Request, want status.Code) job.Job {
	t.Helper()
	id, err := f.StartRestore(f.ctx, q)
	ok(t, err)
	j, err := f.wait(id)
	f.ended(t, j, err, want)
	return j
}

// mustBeSame compares two trees.
func mustBeSame(t *testing.T, want, got string) {
	t.Helper()
	r, err := sametree.Compare(want, got)
	ok(t, err)
	if r.Different > 0 {
		t.Errorf("%s differs from %s in %d ways:\n%s", got, want, r.Different, strings.Join(r.Differences, "\n"))
	}
}

// write makes a file of n bytes that no compression and no hole makes smaller.
func write(t *testing.T, path string, n int, seed uint64) {
	t.Helper()
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	_, err := rand.NewChaCha8(key).Read(b)
	ok(t, err)
	ok(t, os.MkdirAll(filepath.Dir(path), 0o755))
	ok(t, os.WriteFile(path, b, 0o644))
}

// wait waits for the end of a job that must not take long.
func (f *fixture) wait(id int64) (job.Job, error) {
	ctx, cancel := rt.WithTimeout(f.ctx, time.Minute)
	defer cancel()
	for {
		j, err := f.Wait(ctx, id, nil)
		if err == nil {
			return j, nil
		}
		// A connection that broke with a master that was killed is made anew after a pause.
		if !errors.Is(err, pbx.ErrUnreachable) || rt.Sleep(ctx, 50*time.Millisecond) != nil {
			return j, fmt.Errorf("waiting for the end of job %d: %w", id, err)
		}
	}
}

// poll waits until done says so. It gives up, and says so, after a minute.
func (f *fixture) poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	f.within(t, time.Minute, what, done)
}

func (f *fixture) within(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	const pause = 2 * time.Millisecond
	for end := rt.Mono(f.ctx) + limit; rt.Mono(f.ctx) < end; {
		if done() {
			return
		}
		ok(t, rt.Sleep(f.ctx, pause))
	}
	t.Fatalf("%s: not within %v", what, limit)
}

// hasOpen tells whether a process has a file open whose path begins so.
func hasOpen(pid int, prefix string) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && strings.HasPrefix(to, prefix) {
			return true
		}
	}
	return false
}

// stop meets a process in the middle of a file whose path begins so, and stops
// it there. It goes on when resume is called.
func (f *fixture) stop(t *testing.T, host, name, prefix string) (resume func()) {
	t.Helper()
	pid := 0
	f.poll(t, name+" at "+prefix, func() bool {
		pid = f.pid(t, host, name)
		if pid == 0 || !hasOpen(pid, prefix) {
			return false
		}
		ok(t, unix.Kill(pid, unix.SIGSTOP))
		if hasOpen(pid, prefix) {
			return true
		}
		ok(t, unix.Kill(pid, unix.SIGCONT))
		return false
	})
	return func() { ok(t, unix.Kill(pid, unix.SIGCONT)) }
}

// pid finds a process by its name: role/job/try/n; 0 is none.
func (f *fixture) pid(t *testing.T, host, name string) int {
	t.Helper()
	all, err := f.Processes(host)
	ok(t, err)
	for _, p := range all {
		if p.Name == name {
			return p.Pid
		}
	}
	return 0
}

// files are the paths of the files below a directory, from there.
func files(t *testing.T, dir string) (paths []string) {
	t.Helper()
	ok(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, rerr := filepath.Rel(dir, p)
			paths, err = append(paths, rel), rerr
		}
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}))
	return paths
}

// nothingLeft checks that the jobs that have ended left nothing but their images:
// no process, no drive or cartridge in use, no file of the image database, of the
// disk or of a restore's needs.
func (f *fixture) nothingLeft(t *testing.T, images map[string]bool) {
	t.Helper()
	// A process that has lost all others ends by itself after a minute: that is too late.
	f.within(t, 20*time.Second, "processes of jobs that have ended", func() bool {
		n := 0
		for _, h := range []string{loopback.Master, loopback.Media, loopback.Client} {
			all, err := f.Processes(h)
			ok(t, err)
			for _, p := range all {
				if p.Role != real.LibraryRole {
					n++
				}
			}
		}
		return n == 0
	})
	f.poll(t, "drives that nobody uses", func() bool { // they are given back after the job's status is known
		l, err := nbemm.Show.Call(f.ctx, pbx.At(loopback.Master, nbemm.Service), struct{}{})
		ok(t, err)
		return !slices.ContainsFunc(l.Drives, func(d nbemm.DriveState) bool { return d.Job != 0 || d.Media != "" || !d.Up })
	})
	p, err := bpdbm.Images.Call(f.ctx, pbx.At(loopback.Master, bpdbm.Service), bpdbm.Query{})
	ok(t, err)
	var headers, ids []string
	for i := range p.Images {
		headers, ids = append(headers, p.Images[i].FileName()), append(ids, p.Images[i].ID)
		if !images[p.Images[i].ID] {
			t.Errorf("image %s is left", p.Images[i].ID)
		}
	}
	if len(ids) != len(images) {
		t.Errorf("there are %d images, want %d", len(ids), len(images))
	}
	state := filepath.Join(f.Dir(loopback.Master), "state")
	onlyOf(t, filepath.Join(state, "images"), headers)
	onlyOf(t, filepath.Join(state, bprd.NeededDir), nil)
	onlyOf(t, f.disk(), ids)
}

// disk is the directory of the storage unit "disk".
func (f *fixture) disk() string { return filepath.Join(filepath.Dir(f.Dir(loopback.Master)), "disk") }

// onlyOf checks that the files below a directory belong to those images, by the
// beginning of their paths, and are not half written.
func onlyOf(t *testing.T, dir string, images []string) {
	t.Helper()
	for _, file := range files(t, dir) {
		known := false
		for _, id := range images {
			known = known || file == id || strings.HasPrefix(file, id+"_") || strings.HasPrefix(file, id+".")
		}
		if !known || strings.HasSuffix(file, ".part") || strings.HasSuffix(file, ".new") {
			t.Errorf("file %s is left in %s", file, dir)
		}
	}
}
