// Package rt is the seam of time and tasks: what a role needs of its world to
// wait, to start work beside itself, to be cancelled and to draw random numbers.
//
// A world gives very little ([Runtime] and [Task]): a clock, a way to start a
// task, to park and to unpark it. Everything that waits — [Queue], [Semaphore],
// [Mutex], [Event], [Group], [Sleep], timeouts, cancellation — is built here on
// that, once, so that a role behaves the same where a task is a goroutine and
// where it is a coroutine of the simulation.
//
// The handle of the running task travels in its context; [Current] finds it.
// Nothing in core may use the go statement, select, channels, package sync, or
// the clock of package time; an analyzer under internal/ refuses them.
package rt
