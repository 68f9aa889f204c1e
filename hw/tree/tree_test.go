package tree

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	seam "capstan/core/tree"
	"capstan/core/tree/treetest"
)

func TestConformance(t *testing.T) {
	treetest.Run(t, func(t *testing.T) treetest.World {
		return treetest.World{Ctx: context.Background(), FS: New(), Root: t.TempDir()}
	})
}

func open(t *testing.T, path string) seam.Dir {
	t.Helper()
	d, err := New().Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestBigDirectory(t *testing.T) {
	root := t.TempDir()
	const n = 5000
	for i := range n {
		if err := os.WriteFile(filepath.Join(root, fmt.Sprintf("%05d", n-i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names, err := open(t, root).Names(context.Background())
	if err != nil || len(names) != n || names[0] != "00001" || names[n-1] != "05000" {
		t.Fatalf("%d names, %v", len(names), err)
	}
}

func TestSocketHasNoType(t *testing.T) {
	root := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(root, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	i, err := open(t, root).Lstat(context.Background(), "s")
	if err != nil || i.Type != 0 {
		t.Fatalf("type %q, %v", i.Type, err)
	}
}

func TestLongPath(t *testing.T) {
	ctx := context.Background()
	d := open(t, t.TempDir())
	name := string(make([]byte, 0, 250))
	for len(name) < 250 {
		name += "x"
	}
	for range 20 { // 5000 bytes: no system call could take it whole
		if err := d.Mkdir(ctx, name, 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := d.OpenDir(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { next.Close() })
		d = next
	}
	f, err := d.Create(ctx, "f", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := d.Lstat(ctx, "f"); err != nil {
		t.Fatal(err)
	}
	if err := d.(seam.Syncer).SyncFS(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestSetMetaJoinsErrors(t *testing.T) {
	ctx := context.Background()
	d := open(t, t.TempDir())
	f, err := d.Create(ctx, "f", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	i, err := d.Lstat(ctx, "f")
	if err != nil {
		t.Fatal(err)
	}
	i.MTime = 42
	err = d.SetMeta(ctx, "f", i, []seam.Xattr{{Name: "no-namespace", Value: nil}})
	if err == nil {
		t.Fatal("an attribute without a namespace was set")
	}
	if errors.Is(err, seam.ErrNotExist) {
		t.Fatalf("wrong condition: %v", err)
	}
	if i, _ = d.Lstat(ctx, "f"); i.MTime != 42 {
		t.Fatal("after one failure the rest was not tried")
	}
}
