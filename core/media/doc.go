// Package media is the format of what Capstan writes on tape and disk, and the
// packing of an image's stream into its blocks. docs/format-media.md shows the
// bytes.
//
// A volume holds a label ([Label]); then, for each fragment of an image, a data
// file and a trailer file; after the last an end header ([EndHeader]). On tape
// these are files between tape marks; on disk a fragment is two files ([DiskName]).
//
// A data file is one block with the fragment's header ([FragmentHeader]), then the
// fragment's part of the image's stream, cut into blocks. All data files of an
// image, in order, are one GNU multi-volume pax archive. The trailer
// ([TrailerWriter], [ReadTrailer]) has the catalog's entries of the members that
// begin in the fragment, and the length and CRC-32C of each block ([BlockTable]).
//
// The process that receives an image puts its frames into a [Packer], which fills
// the ring of shared memory; the process that owns the device takes slots from it
// and keeps a [Fragments], which says where a fragment may end, what the header of
// the next says, and what its trailer holds. On a restore the owner of the device
// fills the ring through a [Feeder], having picked the wanted members out of the
// blocks ([Picker]), and an [Unpacker] turns the slots into frames.
package media
