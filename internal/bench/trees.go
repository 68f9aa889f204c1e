package main

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// tree is a tree of files to back up.
type tree struct {
	name  string // for people
	path  string
	files int
	bytes int64
}

// makeTrees makes the tree of large files and that of small ones below dir. Half
// of each file can be compressed. The trees are the same in each run.
func makeTrees(ctx context.Context, dir string, s settings) ([]tree, error) {
	const pieces = 8
	large := tree{name: "large files", path: filepath.Join(dir, "large"), files: pieces}
	small := tree{name: "small files", path: filepath.Join(dir, "small"), files: s.small}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range pieces {
		if err := makeFile(filepath.Join(large.path, fmt.Sprintf("disk%02d.img", i)), s.large/pieces, rnd); err != nil {
			return nil, err
		}
		large.bytes += s.large / pieces
	}
	for i := range s.small {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		n := rnd.Int64N(64<<10 + 1)
		name := filepath.Join(small.path, fmt.Sprintf("dir%03d", i/500), fmt.Sprintf("mail-%06d.eml", i))
		if err := makeFile(name, n, rnd); err != nil {
			return nil, err
		}
		small.bytes += n
	}
	for _, t := range []tree{large, small} {
		if err := wholeSeconds(t.path); err != nil {
			return nil, err
		}
	}
	return []tree{large, small}, syncFS(dir)
}

// wholeSeconds sets all modification times: Bacula keeps no parts of a second, and
// what is restored is compared.
func wholeSeconds(root string) error {
	at := time.Now().Truncate(time.Second)
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, at, at)
	})
}

func makeFile(path string, size int64, rnd *rand.Rand) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	var piece [4096]byte
	for left := size; left > 0; left -= int64(len(piece)) {
		for k := 0; k < len(piece)/2; k += 8 { // the other half stays zero
			v := rnd.Uint64()
			for b := range 8 {
				piece[k+b] = byte(v >> (8 * b))
			}
		}
		if _, err := w.Write(piece[:min(left, int64(len(piece)))]); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// syncFS makes everything on the file system of a directory durable.
func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("syncing the file system of %s: %w", dir, err)
	}
	return nil
}
