// Package iscsi holds the words that both ends of an iSCSI connection share
// (RFC 7143): the header of a PDU with its fields, the text in which the ends
// negotiate, the digests and the proof of a CHAP secret.
//
// The target is vtl/iscsi, the initiator hw/iscsi; each keeps its own state and
// does its own reading and writing. Numbers on the wire are big endian, digests
// little endian.
package iscsi
