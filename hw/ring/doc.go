// Package ring is the shared memory between the two processes of a tape manager:
// the real world's [stream.Rings].
//
// A ring is a memfd that both processes map. It holds a header, a header for
// each slot, and the slots' data, each at a multiple of 4096 bytes so that a
// device can transfer to and from it directly. It is named capstan-ring-<name>
// in /proc/<pid>/maps, and sealed: neither side can shrink it under the other.
//
//	offset  size  header (each counter on a cache line of its own)
//	     0     8  "CAPSRING"
//	     8     4  version, 1
//	    12     4  slots
//	    16     8  size of a slot's data, in bytes
//	    64     8  head: slots given back, by the side that takes
//	   128     8  tail: slots handed over, by the side that fills
//	   192     4  1 while the side that fills waits for an empty slot
//	   256     4  1 while the side that takes waits for a full slot
//	  4096    64  × slots: slot headers
//	              0  4  kind | flags<<8
//	              4  4  CRC-32C of the data held
//	              8  8  bytes held
//	             16  8  Slot.Len
//	             24  8  Slot.Offset
//	     …        slot data, each slot rounded up to 4096 bytes
//
// Integers are in the machine's byte order: both sides are on one machine. head
// and tail only grow; slot i mod slots is the one that counts i. There is one
// filler and one taker, and which process is which follows from the calls.
//
// A side that must wait sets its waiting word, looks again, and then waits for a
// byte on the Unix connection over which the memory was handed over; the other
// writes that byte only if the word is set. All words are accessed with
// sequentially consistent atomics, so that one of the two always sees the
// other (Dekker's argument). The death of a process closes its connection: the
// other takes what was handed over, then gets [stream.ErrCut].
//
// The peer is a process of the same user, but it may be dead, or wrong: nothing
// that is read from the memory is used as an index or a length before it was
// checked against what this side knows.
package ring
