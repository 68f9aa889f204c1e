package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"capstan/internal/sametree"
)

// contender is a program that backs a tree up and restores it.
type contender interface {
	name() string
	backup(ctx context.Context, t tree) error
	// restore restores the last backup of the tree and returns where its root is then,
	// "" if what is restored is no tree that can be compared.
	restore(ctx context.Context, t tree, to string) (root string, err error)
}

// figures are how long a backup and a restore took, each with the sync at its end.
type figures struct{ backup, restore time.Duration }

// better takes the better of two rounds, figure by figure.
func (f figures) better(g figures) figures {
	if f.backup == 0 {
		return g
	}
	return figures{min(f.backup, g.backup), min(f.restore, g.restore)}
}

// measure has a contender back a tree up and restore it to a directory that does
// not exist, and compares.
func measure(ctx context.Context, c contender, t tree, to string) (f figures, err error) {
	if err := syncFS(t.path); err != nil {
		return f, err
	}
	began := time.Now()
	if err := c.backup(ctx, t); err != nil {
		return f, fmt.Errorf("backup: %w", err)
	}
	if err := syncFS(t.path); err != nil {
		return f, err
	}
	f.backup = time.Since(began)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return f, err
	}
	began = time.Now()
	root, err := c.restore(ctx, t, to)
	if err == nil {
		err = syncFS(to)
	}
	f.restore = time.Since(began)
	if err != nil {
		return f, fmt.Errorf("restore: %w", err)
	}
	if root != "" {
		r, err := sametree.Compare(t.path, root)
		if err != nil {
			return f, fmt.Errorf("comparing: %w", err)
		}
		if r.Different > 0 || r.Bytes != t.bytes {
			return f, fmt.Errorf("what was restored differs: %d bytes of %d, %v", r.Bytes, t.bytes, r.Differences)
		}
	}
	return f, nil
}

// command runs a program and shows what it said only if it failed.
func command(ctx context.Context, name string, args ...string) (string, error) {
	var out, said bytes.Buffer
	c := exec.CommandContext(ctx, name, args...)
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", c, err, tail(out.Bytes()), tail(said.Bytes()))
	}
	return out.String(), nil
}

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }
