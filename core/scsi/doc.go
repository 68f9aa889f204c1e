// Package scsi holds the words that both ends of a SCSI connection share: the
// command that travels, the operation codes, the status codes, and sense data
// with what it means for a drive or a changer ([dev.Error]).
//
// The initiator (hw) sends commands through a [Transport]; the virtual library's
// target (vtl/scsi) is one, and so is a generic device of Linux. Each end encodes
// or decodes the bytes of its own direction; only what both must agree on is here.
// Numbers are those of SAM-5, SPC-5, SSC-5 and SMC-3. All integers on the wire are
// big endian.
package scsi
