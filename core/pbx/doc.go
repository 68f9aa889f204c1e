// Package pbx is the seam of calls: how a role on one host asks something of a
// role on another, through the one port that each host has.
//
// A [Method] is declared once, as a typed value in the package of the role that
// answers it, with the step of the flow that it is, and with the kinds of
// identity that may call it. The callee registers a function with [Handle]; the
// caller uses [Method.Call]. Steps are traced here, from the declaration.
//
// Every call is one request and one reply. Long lists come in pages, long waits
// as calls that return after a bounded time and are made again: so a connection
// that breaks loses nothing, and nothing is held open for ever.
//
// A reply that is lost leaves the outcome unknown. [Method.Call] then repeats
// the request with the same sequence number, and the callee's [Mux] answers a
// repetition with the first reply, without doing it again.
package pbx
