// Package stream is the seam of data: how the bytes of an image move between
// the processes of a job, and to and from media.
//
// What moves is a [Frame]. Its data has a length, and bytes or none: a frame
// without bytes is hollow and stands for data that nobody needs to hold, as in
// planning runs. Roles connect a [Source] to a [Sink] with [Splice]; only the
// parent of bptm takes the slots of its [Ring] one by one, as it decides at each
// where a fragment ends.
//
// A hollow frame takes no time to pass from hand to hand. It gathers the
// resources that it crosses (Via), and the last sink — the drive, the disk, the
// client's file system — takes as long as all of them together allow: one flow
// with its bottleneck, and the same code as for real bytes.
package stream
