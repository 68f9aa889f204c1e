// Package iscsi is an iSCSI initiator in user space (RFC 7143): logical units of a
// target in the network, without a kernel module and without any privilege.
//
// [Dial] logs in; [Session.LUN] gives a [scsi.Transport] for each logical unit, and
// the units of one session can be used side by side. There is one connection, and
// no recovery but a new session: when the connection breaks, commands in flight
// end with dev.ErrGone, which says that it is unknown whether they were carried
// out. [Discover] asks a portal for its targets.
package iscsi
