// Package port is the real network: how processes of different hosts call each
// other and pass data, through the one TCP port that each host has (PBX).
//
// The daemon of a host listens on the port with an [Exchange]. Whoever connects
// says in its TLS hello which service it wants, as protocol name (ALPN):
//
//	capstan:nbjm              the service nbjm of this host
//	capstan:bptm/123/1/0      the first bptm of job 123, try 1
//	capstan-enroll            enrolment, at the master
//
// The Exchange looks at the hello without taking it (MSG_PEEK) and hands the
// untouched socket to the process that serves the service, over a Unix socket
// in the host's run directory (SCM_RIGHTS). That process does the handshake: TLS
// 1.3, both sides certified by the domain (package pki). The name is plaintext:
// it routes, it authorises nothing.
//
// A process has one [Port]. It is the pbx.Transport of the process — calls are
// gRPC, their messages CBOR, see [envelope] — and its stream.Net: data
// connections, which use the same way in, show a one-time ticket and then carry
// frames, see frame.go. Within a host, processes connect to each other's Unix
// sockets directly; the kernel vouches for the peer, and there is no TLS.
//
// Nothing that a stranger sends costs more than a bounded time and size: hellos,
// handshakes, first bytes, and the number of connections that have not yet shown
// who they are.
package port
