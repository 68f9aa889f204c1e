package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// gnuTar writes the tree into one file, with what Capstan keeps of it.
type gnuTar struct{ dir string }

func (gnuTar) name() string { return "GNU tar" }

func (g gnuTar) archive() string { return filepath.Join(g.dir, "tree.tar") }

func (g gnuTar) backup(ctx context.Context, t tree) error {
	_, err := command(ctx, "tar", "--format=pax", "--xattrs", "--acls", "-cf", g.archive(), "-C", t.path, ".")
	return err
}

func (g gnuTar) restore(ctx context.Context, _ tree, to string) (string, error) {
	if _, err := command(ctx, "tar", "--xattrs", "--acls", "-xpf", g.archive(), "-C", to); err != nil {
		return "", err
	}
	return to, os.Remove(g.archive())
}

// restic keeps a repository on the same disk, with its own default compression.
type restic struct{ repo string }

func newRestic(ctx context.Context, dir string) (restic, error) {
	r := restic{repo: dir}
	if _, err := exec.LookPath("restic"); err != nil {
		return r, err
	}
	return r, os.Setenv("RESTIC_PASSWORD", "bench")
}

func (restic) name() string { return "restic" }

func (r restic) backup(ctx context.Context, t tree) error {
	// A new repository each time: what is measured is a first full backup.
	if err := os.RemoveAll(r.repo); err != nil {
		return err
	}
	if _, err := command(ctx, "restic", "-q", "-r", r.repo, "init", "--repository-version", "2"); err != nil {
		return err
	}
	_, err := command(ctx, "restic", "-q", "-r", r.repo, "--no-cache", "backup", t.path)
	return err
}

func (r restic) restore(ctx context.Context, t tree, to string) (string, error) {
	_, err := command(ctx, "restic", "-q", "-r", r.repo, "--no-cache", "restore", "latest", "--target", to)
	return filepath.Join(to, t.path), err
}

// version is the first line of what a program says of itself that has a number in it.
func version(program string, args ...string) string {
	out, err := exec.Command(program, args...).CombinedOutput() // Bacula's exits with 1 then
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, ".") && !strings.Contains(line, "Copyright") {
			return strings.TrimSpace(line)
		}
	}
	return fmt.Sprintf("no %s (%v)", program, err)
}
