// Package iscsi is the socket in front of a SCSI target: it serves its logical
// units to iSCSI initiators (RFC 7143), several at a time.
//
// A [Target] listens ([Target.Serve]). Each connection is read by one goroutine:
// it logs in (login.go, security.go, keys.go), and then takes PDU after PDU
// (connection.go). Commands are put in order by their session (session.go) and
// carried out by one worker for each logical unit and session (worker.go), which
// also writes the answer, so that a command crosses one hand-over on its way in and
// none on its way out. Data of writes goes from the socket to where the command has
// it, data of reads from there to the socket, without a copy (data.go).
//
// Errors are recovered by sessions alone (ErrorRecoveryLevel 0): a broken PDU ends
// its connection, a connection that ends takes its commands with it, and the last
// connection of a session ends the nexus. A command that a device has begun is not
// taken back; who aborts it is answered when it has ended.
//
// What an initiator can make the target hold is bounded: connections, those among
// them that have not logged in, the time of a login, and the bytes of data in all
// commands together ([Limits]). A command beyond is answered with TASK SET FULL.
package iscsi
