package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// mounted is a contender's mount, or the plain file system.
type mounted struct {
	name  string
	start *exec.Cmd // nil: there is nothing to be mounted
	at    string    // the mount
	tree  func(t tree) string
}

// mountRow is one thing that was done in each.
type mountRow struct {
	what string
	took map[string]float64 // by contender
	rate bool               // more is better: per second, not seconds
}

// randomReads is how many blocks of 4 KiB are read.
const randomReads = 20_000

// measureMounts does the same in Capstan's mount, in restic's, and in the tree itself.
// Capstan's images lie on disk, as restic's do.
func measureMounts(ctx context.Context, doc *document, dir string, trees []tree, one *capstan) error {
	r, err := newRestic(ctx, filepath.Join(dir, "restic-mount"))
	if err != nil {
		return err
	}
	snapshot := []string{"-q", "-r", r.repo, "--no-cache", "backup"}
	for _, t := range trees {
		if err := one.backup(ctx, t); err != nil {
			return err
		}
		snapshot = append(snapshot, t.path)
	}
	if _, err := command(ctx, "restic", "-q", "-r", r.repo, "init", "--repository-version", "2"); err != nil {
		return err
	}
	if _, err := command(ctx, "restic", snapshot...); err != nil {
		return err
	}
	all := []mounted{{name: "the file system", tree: func(t tree) string { return t.path }}, one.mounted(), r.mounted()}
	for _, m := range all {
		if err := m.measure(ctx, doc, trees); err != nil {
			return fmt.Errorf("the mount of %s: %w", m.name, err)
		}
		doc.mounts = append(doc.mounts, m.name)
	}
	return nil
}

func (c *capstan) mounted() mounted {
	at := c.sub("mnt")
	return mounted{
		name: "Capstan", at: at,
		start: exec.Command(c.bin, "mount", at, "--stage", c.sub("stage"), "--config", filepath.Join(c.sub("server1"), "host.yaml")),
		tree: func(t tree) string {
			return filepath.Join(at, "clients", c.client, filepath.Base(t.path), "latest", t.path)
		},
	}
}

func (r restic) mounted() mounted {
	at := r.repo + "-mnt"
	return mounted{
		name: "restic", at: at, start: exec.Command("restic", "-q", "-r", r.repo, "mount", at),
		tree: func(t tree) string { return filepath.Join(at, "snapshots", "latest", t.path) },
	}
}

func (m *mounted) measure(ctx context.Context, doc *document, trees []tree) (err error) {
	if m.start != nil {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := m.mount(); err != nil {
			return err
		}
		defer func() {
			peak, merr := m.memory()
			doc.mountFigure("memory of the daemon at most, MiB", m.name, peak, false)
			err = errors.Join(err, merr, exec.Command("umount", m.at).Run())
			_ = m.start.Process.Signal(os.Interrupt) // it may have ended with its mount
			_ = m.start.Wait()
		}()
	}
	large, small := m.tree(trees[0]), m.tree(trees[1])
	for _, step := range []struct{ what, command string }{
		{"first listing of the top, s", "ls -U " + small},
		{"find, s", "find " + small + " | wc -l"},
		{"ls -lR, s", "ls -lR " + small + " | wc -l"},
		{"ls -lR again, s", "ls -lR " + small + " | wc -l"},
		{"a directory of 500 small files read for the first time, s", "cat " + small + "/dir001/* >/dev/null"},
		{"a large file read for the first time, s", "cat " + large + "/disk00.img >/dev/null"},
		{"the same again, s", "cat " + large + "/disk00.img >/dev/null"},
	} {
		began := time.Now()
		if _, err := command(ctx, "bash", "-c", "set -o pipefail; "+step.command); err != nil {
			return err
		}
		doc.mountFigure(step.what, m.name, time.Since(began).Seconds(), false)
	}
	rate, err := readRandomly(filepath.Join(large, "disk00.img"))
	doc.mountFigure("random blocks of 4 KiB of it a second", m.name, rate, true)
	return err
}

// mount starts the daemon and waits for the file system.
func (m *mounted) mount() error {
	var before, now unix.Stat_t
	if err := unix.Stat(m.at, &before); err != nil {
		return err
	}
	if err := m.start.Start(); err != nil {
		return err
	}
	for range 300 {
		if unix.Stat(m.at, &now) == nil && now.Dev != before.Dev {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.Join(fmt.Errorf("%s: nothing is mounted", m.start), m.start.Process.Kill())
}

// memory is the most that the daemon has had, MiB.
func (m *mounted) memory() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.start.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kib); n == 1 {
			return kib / 1024, nil
		}
	}
	return 0, errors.New("the kernel does not tell the memory of a process")
}

// readRandomly reads blocks here and there, and tells how many a second.
func readRandomly(path string) (float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 4096)
	began := time.Now()
	for range randomReads {
		if _, err := f.ReadAt(b, rnd.Int64N(info.Size()/4096)*4096); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
	}
	return randomReads / time.Since(began).Seconds(), nil
}

func (d *document) mountFigure(what, who string, value float64, rate bool) {
	for i := range d.mountRows {
		if d.mountRows[i].what == what {
			d.mountRows[i].took[who] = value
			return
		}
	}
	d.mountRows = append(d.mountRows, mountRow{what, map[string]float64{who: value}, rate})
}

// mountTable writes the mounts side by side, and where Capstan's is not the faster one.
func (d *document) mountTable(b *strings.Builder) {
	fmt.Fprintf(b, "\n| mount | %s |\n|---|%s\n", strings.Join(d.mounts, " | "), strings.Repeat("---|", len(d.mounts)))
	var slower []string
	for _, r := range d.mountRows {
		fmt.Fprintf(b, "| %s |", r.what)
		for _, who := range d.mounts {
			cell := "-"
			if v, ok := r.took[who]; ok {
				cell = humanize.CommafWithDigits(v, 3)
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		b.WriteString("\n")
		own, other := r.took["Capstan"], r.took["restic"]
		if own > other != r.rate {
			slower = append(slower, r.what)
		}
	}
	b.WriteString("\n- Capstan's mount, target: better than restic's in each")
	if len(slower) == 0 {
		b.WriteString(": met.\n")
		return
	}
	fmt.Fprintf(b, ": missed for %s.\n", strings.Join(slower, "; "))
}
