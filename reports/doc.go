// Package reports prints what came out, for people as text tables and for
// programs as JSON, from either world alike.
//
// A report is a function of plain rows: [WriteJobs] takes a slice of [Job] and
// a writer. The rows are this package's own types, so that whoever has the facts
// — a command that asked the master, a simulation that ended — fills them in and
// every table looks the same. Nothing here looks at a terminal: colour comes when
// [Options] asks for it, and the same rows give the same bytes everywhere.
//
// In JSON sizes are bytes, durations seconds, and times RFC 3339 in UTC; the
// fields have the names of the rows' json tags. A zero time is one that has not
// come yet, and prints as "-".
package reports
