// Package tree is the virtual world's file trees: [FS] is a file system in
// memory, with every kind of file that the seam core/tree knows, and with hollow
// files, which have a size and no bytes. [FS.AddHollow] fills a directory with
// entries that together stand for any number of files.
package tree
