package catalog

import (
	"fmt"
	"math/bits"
	"strings"
)

// MaxPath bounds the bytes of a path and of a link's target. Paths longer than
// Linux's PATH_MAX (4096) exist: a tree can be built, and walked, one name at a
// time. The bound keeps the parents of one hostile path from filling a disk.
const MaxPath = 32 << 10

// split divides a path at its last "/". The children of a directory have its
// path as their dir; those of "/" have "". The path "/" itself is ("", "").
func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:i], path[i+1:]
}

// compareDirs orders directories by their bytes with "/" lower than every other
// byte, and a directory before those whose path it begins. So a directory's
// subtree follows it without a gap: "/a", "/a/b", "/a!", "/ab".
func compareDirs[A, B text](a A, b B) int {
	n := sharedPrefix(a, b)
	switch {
	case n == len(a) || n == len(b):
		return len(a) - len(b)
	case a[n] == '/':
		return -1
	case b[n] == '/':
		return 1
	}
	return int(a[n]) - int(b[n])
}

// text is a path or a part of one, as it is kept or as it is read.
type text interface{ ~string | ~[]byte }

// sharedPrefix is how many bytes both begin with.
func sharedPrefix[A, B text](a A, b B) int {
	n, i := min(len(a), len(b)), 0
	for ; i+8 <= n; i += 8 {
		if d := word(a[i:i+8]) ^ word(b[i:i+8]); d != 0 {
			return i + bits.TrailingZeros64(d)/8
		}
	}
	for ; i < n && a[i] == b[i]; i++ {
	}
	return i
}

// word is the first 8 bytes as a number, the first byte the lowest.
func word[T text](b T) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// compare orders entries by (directory, name): the order of a files file. The
// children of a directory are contiguous.
func compare[A, B text](aDir, aName A, bDir, bName B) int {
	if c := compareDirs(aDir, bDir); c != 0 {
		return c
	}
	n := sharedPrefix(aName, bName)
	if n == len(aName) || n == len(bName) {
		return len(aName) - len(bName)
	}
	return int(aName[n]) - int(bName[n])
}

// ComparePaths orders absolute paths as a files file does: to merge the lists of
// several images.
func ComparePaths(a, b string) int { return comparePaths(a, b) }

func comparePaths(a, b string) int {
	aDir, aName := split(a)
	bDir, bName := split(b)
	return compare(aDir, aName, bDir, bName)
}

// within tells whether directory dir is top or below it.
func within[A text](dir A, top string) bool {
	return len(dir) >= len(top) && string(dir[:len(top)]) == top && (len(dir) == len(top) || dir[len(top)] == '/')
}

// checkPath refuses what is not an absolute path in its only spelling: names
// are any bytes but "/" and NUL.
func checkPath(path string) error {
	if path == "/" {
		return nil
	}
	if len(path) > MaxPath {
		return fmt.Errorf("a path of %d bytes: at most %d are kept", len(path), MaxPath)
	}
	if path == "" || path[0] != '/' || strings.IndexByte(path, 0) >= 0 {
		return fmt.Errorf("path %.200q: want an absolute path without NUL", path)
	}
	for at := 1; at <= len(path); {
		end := strings.IndexByte(path[at:], '/')
		if end < 0 {
			end = len(path) - at
		}
		if badName(path[at : at+end]) {
			return fmt.Errorf("path %.200q: want components other than \"\", \".\" and \"..\"", path)
		}
		at += end + 1
	}
	return nil
}

// checkKey is checkPath for what an entry may be found under: a [Gone] that is of
// what was in a directory has its path and "/".
func checkKey(path string) error {
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	return checkPath(path)
}

// badName tells whether no file has that name, "/" and NUL aside.
func badName[T text](name T) bool {
	return len(name) <= 2 && (len(name) == 0 || name[0] == '.' && (len(name) == 1 || name[1] == '.'))
}
