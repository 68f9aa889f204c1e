// Package changer drives the robots of tape libraries by SMC-3: [Open] makes a
// [dev.Changer] of a medium changer behind any core/scsi Transport.
//
// What stands where is asked for by READ ELEMENT STATUS, one kind of element at a
// time and in pieces that fit into 16 bits of length: some changers look at no more,
// and some answer a question for all kinds with pages that overlap. A reply's lengths
// are bounds, never truths: each descriptor is taken by the length that its page
// states, if it is there whole, and the next piece is asked for from behind it.
//
// A cartridge is moved once. After an error that leaves open whether it was moved,
// the elements are read again and say so; after "source empty" or "destination full"
// that the elements deny, the move is sent once more.
//
// quirks.go has what single products need, each with its reason.
package changer
