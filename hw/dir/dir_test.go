package dir_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/core/store"
	"capstan/core/store/storetest"
	"capstan/hw/clock"
	"capstan/hw/dir"
)

func open(t *testing.T, path string) *dir.Dir {
	t.Helper()
	d, err := dir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

func run(t *testing.T, body func(ctx context.Context)) { body(clock.Context(t.Context(), "test")) }

func TestDir(t *testing.T) {
	storetest.RunDir(t, run, func(t *testing.T) storetest.Directory {
		return storetest.Directory{Dir: open(t, t.TempDir())}
	})
}

// The full disk is a file system of its own of 512 KiB.
func TestNoSpace(t *testing.T) {
	storetest.RunNoSpace(t, run, func(t *testing.T) store.Dir {
		at := t.TempDir()
		if err := unix.Mount("capstan", at, "tmpfs", 0, "size=512k"); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip("no small file system:", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(at, 0); err != nil {
				t.Errorf("unmount: %v", err)
			}
		})
		return open(t, at)
	})
}

// A symbolic link in the directory leads nowhere outside.
func TestLinksDoNotEscape(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	inside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(inside, "link")); err != nil {
		t.Fatal(err)
	}
	d := open(t, inside)
	if _, err := d.Open(ctx, "link/secret"); err == nil {
		t.Error("a file outside can be opened through a link")
	}
	if _, err := d.Create(ctx, "link/new"); err == nil {
		t.Error("a file outside can be made through a link")
	}
	if _, err := d.List(ctx, "link"); err == nil {
		t.Error("a directory outside can be listed through a link")
	}
	if err := d.Remove(ctx, "link/secret"); err == nil {
		t.Error("a file outside can be removed through a link")
	}
	if _, err := os.Stat(filepath.Join(outside, "secret")); err != nil {
		t.Errorf("the file outside: %v", err)
	}
}
