package real_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/core/bprd"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/status"
	"capstan/internal/real"
	"capstan/internal/real/loopback"
)

// TestMain lets the test binary be what it starts: daemons and their processes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "process" {
		os.Exit(real.Process())
	}
	if len(os.Args) > 3 && os.Args[1] == "daemon" {
		os.Exit(runDaemon(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

func runDaemon(kind, config string) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	k, _ := pbx.ParseKinds(kind)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := real.Run(ctx, config, real.Options{Kind: k, Log: log}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func command(kind, config string) *exec.Cmd {
	return exec.Command("/proc/self/exe", "daemon", kind, config)
}

// newDomain runs a domain for a test.
func newDomain(t *testing.T) *loopback.Domain {
	t.Helper()
	dir, err := os.MkdirTemp("", "capstan") // shorter than the test's own: sockets are below it
	if err != nil {
		t.Fatal(err)
	}
	d, err := loopback.New(t.Context(), loopback.Options{Dir: dir, Command: command})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		for _, h := range []string{loopback.Master, loopback.Media, loopback.Client} {
			b, _ := os.ReadFile(d.Log(h))
			t.Logf("%s:\n%s", h, b)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestBackupAndRestore(t *testing.T) {
	d := newDomain(t)
	s, err := d.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx := s.Context()
	src := t.TempDir()
	for i := range 20 {
		if err := os.WriteFile(filepath.Join(src, fmt.Sprintf("f%d", i)), make([]byte, 10000*i), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.PutPolicy(ctx, policy.Policy{
		Name: "p", Active: true, Clients: []string{loopback.Client}, Paths: []string{src}, Storage: "tape",
		Schedules: []policy.Schedule{{Name: "full", Type: policy.Full}},
	}); err != nil {
		t.Fatal(err)
	}
	for _, storage := range []string{"disk", "tape"} {
		t.Run(storage, func(t *testing.T) {
			j, err := d.Backup(ctx, "p", storage, nil)
			if err != nil {
				t.Fatal(err)
			}
			show(ctx, t, d, j.ID)
			if j.Status != status.OK {
				t.Fatalf("the backup ended with status %d, %s", j.Status, j.Detail)
			}
			to := t.TempDir()
			r, err := d.Restore(ctx, bprd.Request{Image: j.BackupID, Target: to}, nil)
			if err != nil {
				t.Fatal(err)
			}
			show(ctx, t, d, r.ID)
			if r.Status != status.OK {
				t.Fatalf("the restore ended with status %d, %s", r.Status, r.Detail)
			}
		})
	}
}

func show(ctx context.Context, t *testing.T, d *loopback.Domain, id int64) {
	lines, err := d.Lines(ctx, id)
	if err != nil {
		t.Error(err)
	}
	for _, l := range lines {
		t.Log(l.Time, l.Host, l.Role, l.Text)
	}
	events, err := d.Trace(ctx, id)
	if err != nil {
		t.Error(err)
	}
	for _, e := range events {
		t.Log(e.Begin, e.Step, e.Proc, e.What, e.To, e.Status, e.Detail)
	}
}
