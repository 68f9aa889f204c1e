// Package record is what a run leaves: a planning run of the virtual world, or a
// span of a real domain's life, from the same events.
//
// A [Recorder] is told what happens — events of the trace, stretches of transfers,
// jobs that have ended — and hands finished records to a [Sink]: a [Writer], which
// keeps them in a directory and nothing in memory, or a [Run], which is memory.
// Package answers makes figures of a [Run], package page a report.
//
// The directory has a file run.json, which is written last and says that the run
// was finished, and files of one line of JSON for each record: jobs.ndjson,
// mounts.ndjson, media.ndjson and use.ndjson. Times are nanoseconds since 1970 in
// UTC, durations nanoseconds, sizes bytes. docs/reports.md has the fields.
package record
