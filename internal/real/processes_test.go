package real_test

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan/core/bprd"
	"capstan/core/flow"
	"capstan/core/status"
	"capstan/internal/real"
	"capstan/internal/real/loopback"
	"capstan/scenarios"
)

// rings are the rings that a process maps, by name and inode.
func rings(t *testing.T, pid int) (mapped []string) {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	ok(t, err)
	defer f.Close() //nolint:errcheck // it was only read
	for s := bufio.NewScanner(f); s.Scan(); {
		// address perms offset dev inode path (proc(5))
		field := strings.Fields(s.Text())
		if len(field) < 6 || !strings.HasPrefix(field[5], "/memfd:capstan-ring-") {
			continue
		}
		if field[1] != "rw-s" {
			t.Errorf("process %d maps %s %s, not shared", pid, field[5], field[1])
		}
		if ring := field[4] + " " + field[5]; !slices.Contains(mapped, ring) {
			mapped = append(mapped, ring)
		}
	}
	return mapped
}

// areProcesses checks, while a job works, that its processes are processes of
// their hosts' daemons, by name role/job/try/n, and that both bptm, and no other,
// map its ring. The virtual library maps it to take blocks without a copy.
func (f *fixture) areProcesses(t *testing.T, want map[string][]string, bptm ...string) {
	t.Helper()
	pids, mapped := map[int]string{}, map[string][]string{}
	for _, h := range []string{loopback.Master, loopback.Media, loopback.Client} {
		all, err := f.Processes(h)
		ok(t, err)
		var names []string
		for _, p := range all {
			if other, twice := pids[p.Pid]; twice {
				t.Errorf("%s and %s are one process", other, p.Name)
			}
			pids[p.Pid] = p.Name
			if p.Role == real.LibraryRole {
				continue
			}
			names = append(names, p.Name)
			for _, ring := range rings(t, p.Pid) {
				mapped[ring] = append(mapped[ring], p.Name)
			}
		}
		slices.Sort(names)
		if !slices.Equal(names, want[h]) {
			t.Errorf("the daemon of %s has started %v, want %v", h, names, want[h])
		}
	}
	if len(mapped) != 1 {
		t.Fatalf("%d rings are mapped (%v), want 1", len(mapped), mapped)
	}
	for _, ring := range slices.Collect(maps.Keys(mapped)) {
		slices.Sort(mapped[ring])
		if !slices.Equal(mapped[ring], bptm) {
			t.Errorf("ring %s is mapped by %v, want %v", ring, mapped[ring], bptm)
		}
	}
}

// A job's steps come in the order that the flow demands, and its roles are
// processes, on both kinds of storage, for backup and restore.
func TestProcesses(t *testing.T) {
	f := newFixture(t, scenarios.Library{})
	big := filepath.Join(f.source, "a")
	write(t, big, 96<<20, 1)
	for _, storage := range []string{"tape", "disk"} {
		tape := storage == "tape"
		var image string
		t.Run("backup to "+storage, func(t *testing.T) {
			id, err := f.StartBackup(f.ctx, policyName, storage)
			ok(t, err)
			n := func(role string, n int) string { return fmt.Sprintf("%s/%d/1/%d", role, id, n) }
			resume := f.stop(t, loopback.Client, n("bpbkar", 0), big)
			f.areProcesses(t, map[string][]string{
				loopback.Media:  {n("bpbrm", 0), n("bptm", 0), n("bptm", 1)},
				loopback.Client: {n("bpbkar", 0)},
			}, n("bptm", 0), n("bptm", 1))
			resume()
			j, err := f.wait(id)
			f.ended(t, j, err, status.OK)
			f.inOrder(t, id, flow.Kind{Tape: tape})
			image = j.BackupID
		})
		t.Run("restore from "+storage, func(t *testing.T) {
			to := t.TempDir()
			id, err := f.StartRestore(f.ctx, bprd.Request{Image: image, StripTo: filepath.Dir(f.source), Target: to})
			ok(t, err)
			n := func(role string, n int) string { return fmt.Sprintf("%s/%d/1/%d", role, id, n) }
			want := map[string][]string{
				loopback.Media:  {n("bpbrm", 0), n("bpbrm", 1), n("bptm", 0), n("bptm", 1)},
				loopback.Client: {n("tar", 0)},
			}
			if tape {
				want[loopback.Master] = []string{n("bprd", 0)}
			}
			resume := f.stop(t, loopback.Client, n("tar", 0), filepath.Join(to, filepath.Base(f.source), ".capstan-restore-"))
			f.areProcesses(t, want, n("bptm", 0), n("bptm", 1))
			resume()
			j, err := f.wait(id)
			f.ended(t, j, err, status.OK)
			f.inOrder(t, id, flow.Kind{Restore: true, Tape: tape})
			mustBeSame(t, f.source, filepath.Join(to, filepath.Base(f.source)))
		})
	}
}
