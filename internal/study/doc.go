// Package study runs a scenario many times: with several seeds, and with several
// values of some of its fields. Runs of one study have the same seeds, so that what
// differs between two of them is what the values did (common random numbers; see
// internal/workload).
//
// Each run is one goroutine's, and there are as many at a time as there are
// processors. What a run came to is kept in a file of its own, by a hash of all that
// it depends on: a study that was interrupted goes on where it was.
package study
