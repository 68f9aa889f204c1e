// Package workload draws what a scenario's clients hold on each day, when a try of
// a backup fails, and when somebody asks for a restore.
//
// Every draw is a function of the seed, of the entity that it is for, of its purpose
// and of a number such as the day: nothing is drawn one after the other. So a
// scenario with other drives, windows or clients has the same numbers for all that
// is in both, and what differs between two runs is what the change did (common
// random numbers).
//
// One uniform number goes through a law's quantile function. Logarithms and powers
// are computed here ([Ln], [Exp]) with operations that every processor does alike,
// so that a seed gives the same run on all.
package workload
