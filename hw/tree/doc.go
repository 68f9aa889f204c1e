// Package tree is the real world's file trees on Linux: the seam core/tree over
// openat(2) and its kin. A directory is a descriptor, a file is reached by one
// name beneath it with O_NOFOLLOW, and nothing is ever reached by a path again
// after [FS.Open]: a link that somebody puts in the way leads nowhere.
package tree
