package catalog

import (
	"fmt"
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
func compareDirs(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		x, y := a[i], b[i]
		switch {
		case x == y:
		case x == '/':
			return -1
		case y == '/':
			return 1
		case x < y:
			return -1
		default:
			return 1
		}
	}
	return len(a) - len(b)
}

// compare orders entries by (directory, name): the order of a files file. The
// children of a directory are contiguous.
func compare(aDir, aName, bDir, bName string) int {
	if c := compareDirs(aDir, bDir); c != 0 {
		return c
	}
	return strings.Compare(aName, bName)
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
func within(dir, top string) bool {
	return strings.HasPrefix(dir, top) && (len(dir) == len(top) || dir[len(top)] == '/')
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
	for name := range strings.SplitSeq(path[1:], "/") {
		if name == "" || name == "." || name == ".." {
			return fmt.Errorf("path %.200q: want components other than \"\", \".\" and \"..\"", path)
		}
	}
	return nil
}
