// Package fuse shows the image catalog as a file system, so that a person restores by
// dragging files out of it:
//
//	clients/<client>/<policy>/latest                      the newest image, a link
//	clients/<client>/<policy>/2026/11/23/2100_full/...    the client as it was then
//	clients/<client>/<policy>/@images/<backup id>/...     what exactly one image holds
//	clients/<client>/<policy>/versions/...                each path as a directory of its versions
//	clients/<client>/<policy>/compare/<a>..<b>/{added,removed,changed}/...
//	media/<barcode>/<backup id>/...                       the images on a cartridge
//	.restore/                                             requests, as files: see restore.go
//
// It is a client of the system: listings come from the catalogs that bpdbm gives by
// ranges, contents by restore jobs of bprd to this host, which run their steps as any
// other. Opening a file that lies on tape waits until it has come, and can be given up
// at any time; what has come is kept on disk, up to a size. What is fetched
// together for those who open files is decided by core/stage.
package fuse
