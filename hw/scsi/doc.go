// Package scsi is the initiator's side of SCSI: it carries commands to tape drives
// and medium changers and reads their answers.
//
//   - [OpenSG] is a [scsi.Transport] (of core/scsi) over a generic device of Linux, /dev/sg*.
//   - [Device] is a logical unit behind any transport: it gives each command its time
//     limit, repeats it where the standards allow, and makes each failure a [dev.Error].
//   - The other files have the commands and replies that drives and changers share, as
//     types. Replies come from devices, so nothing in them is believed before its
//     length was checked.
//
// Numbers of tables and clauses are those of SAM-5, SPC-5 and SSC-5. Integers are big endian.
package scsi
