package scenarios

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTrace is the size of the largest file of jobs or values, in bytes.
const maxTrace = 512 << 20

// TraceTitles are the titles of a CSV file of jobs: when each was asked for (RFC
// 3339, or a duration after the start), whose it was, and what it copied.
var TraceTitles = []string{"time", "client", "policy", "schedule", "bytes", "files"}

// traced is a job of a trace before it has its place in a scenario.
type traced struct {
	line int
	time string
	job  TracedJob
}

// trace reads the file of jobs that the workload names, and adds those that were
// asked for in the scenario's time.
func (r *reader) trace(s *Scenario, who *roster) {
	w := &s.Workload
	file := r.beside(w.Trace)
	w.Trace = ""
	b, ok := r.other("workload.trace", file)
	if !ok {
		return
	}
	var all []traced
	if t := bytes.TrimSpace(b); len(t) > 0 && t[0] == '[' {
		all = r.traceJSON(file, b)
	} else {
		all = r.traceCSV(file, b)
	}
	if len(all) == 0 && !r.wrongIn(file) {
		r.sayIn(file, 1, "no job to play back; expected backups, in CSV below the titles %s", strings.Join(TraceTitles, ","))
		return
	}
	for i := range all {
		j := &all[i].job
		inside, wrong := j.place(all[i].time, s)
		if wrong == "" && inside && !who.clients[j.Client] {
			wrong = fmt.Sprintf("there is no client %q; expected one of the scenario's", j.Client)
		}
		if wrong == "" && inside {
			wrong = who.wrong(j)
		}
		switch {
		case wrong != "":
			r.sayIn(file, all[i].line, "%s", wrong)
		case inside:
			w.Jobs = append(w.Jobs, *j)
		}
	}
	if len(w.Jobs) == 0 && len(all) > 0 && !r.wrongIn(file) {
		r.sayIn(file, all[0].line, "none of the %d jobs is in the scenario's time, %s to %s; this one was asked for at %s: change start and length to cover them",
			len(all), s.Start.Format(time.RFC3339), s.Start.Add(s.Length.Std()).Format(time.RFC3339), all[0].time)
	}
	slices.SortStableFunc(w.Jobs, func(a, b TracedJob) int { return cmp.Compare(a.At, b.At) })
}

// place gives the job its time after the start; inside tells whether that is in
// the scenario's time.
func (j *TracedJob) place(text string, s *Scenario) (inside bool, wrong string) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		d := t.Sub(s.Start)
		j.At = Duration(d)
		return d >= 0 && d <= s.Length.Std(), ""
	}
	if err := j.At.UnmarshalText([]byte(text)); err != nil {
		return false, fmt.Sprintf("%q is no time; expected one such as 2026-11-23T18:00:00Z, or a duration after the start", text)
	}
	return j.At <= s.Length, ""
}

// traceCSV reads jobs with a line of titles, in any order.
func (r *reader) traceCSV(file string, b []byte) (all []traced) {
	place := map[string]int{}
	r.lines(file, b, func(line int, fields []string) {
		if len(place) == 0 {
			for i, title := range fields {
				title = strings.TrimSpace(title)
				if _, twice := place[title]; twice && slices.Contains(TraceTitles, title) {
					r.sayIn(file, line, "there are two columns %q; expected one", title)
				}
				place[title] = i
			}
			for _, title := range TraceTitles {
				if _, ok := place[title]; !ok && title != "schedule" {
					r.sayIn(file, line, "there is no column %q; expected the titles %s", title, strings.Join(TraceTitles, ","))
				}
			}
			return
		}
		get := func(title string) string {
			if i, ok := place[title]; ok && i < len(fields) {
				return strings.TrimSpace(fields[i])
			}
			return ""
		}
		t := traced{line: line, time: get("time"), job: TracedJob{Client: get("client"), Policy: get("policy"), Schedule: get("schedule")}}
		size, err1 := strconv.ParseInt(get("bytes"), 10, 64)
		files, err2 := strconv.ParseInt(get("files"), 10, 64)
		if err1 != nil || size < 0 || size > maxJob {
			r.sayIn(file, line, "bytes: %q is no number of bytes; expected 0 to %d", get("bytes"), int64(maxJob))
			return
		}
		if err2 != nil || files < 0 || files > maxJobFiles {
			r.sayIn(file, line, "files: %q is no number of files; expected 0 to %d", get("files"), int64(maxJobFiles))
			return
		}
		t.job.Bytes, t.job.Files = Size(size), max(files, 1)
		all = append(all, t)
	})
	return all
}

// The largest job that can be played back.
const (
	maxJob      = 1 << 60
	maxJobFiles = 10_000_000_000
)

// traceJSON reads the job list of a domain, as "capstan jobs --json" writes it:
// the backups of it that succeeded.
func (r *reader) traceJSON(file string, b []byte) (all []traced) {
	d := json.NewDecoder(bytes.NewReader(b))
	line := func() int { return 1 + bytes.Count(b[:min(int(d.InputOffset()), len(b))], []byte("\n")) }
	if _, err := d.Token(); err != nil {
		r.sayIn(file, 1, "this is no list of jobs: %v", err)
		return nil
	}
	for d.More() {
		var j struct {
			Type     string    `json:"type"`
			State    string    `json:"state"`
			Status   int       `json:"status"`
			Client   string    `json:"client"`
			Policy   string    `json:"policy"`
			Schedule string    `json:"schedule"`
			Bytes    int64     `json:"bytes"`
			Files    int64     `json:"files"`
			Queued   time.Time `json:"queued"`
		}
		if err := d.Decode(&j); err != nil {
			r.sayIn(file, line(), "this is no job: %v", err)
			return all
		}
		if j.Type != "backup" || j.State != "completed" || j.Status > 1 {
			continue
		}
		if j.Bytes < 0 || j.Bytes > maxJob || j.Files < 0 || j.Files > maxJobFiles {
			r.sayIn(file, line(), "a job of %d bytes and %d files cannot be", j.Bytes, j.Files)
			continue
		}
		all = append(all, traced{line: line(), time: j.Queued.Format(time.RFC3339Nano), job: TracedJob{
			Client: j.Client, Policy: j.Policy, Schedule: j.Schedule, Bytes: Size(j.Bytes), Files: max(j.Files, 1),
		}})
	}
	if _, err := d.Token(); err != nil { // the list's end
		r.sayIn(file, line(), "the list of jobs is cut off: %v", err)
	} else if _, err := d.Token(); !errors.Is(err, io.EOF) {
		r.sayIn(file, line(), "something follows the list of jobs; expected one list")
	}
	return all
}

// column reads the values of a column of a CSV file.
func (r *reader) column(field, name, title string) (values []Amount) {
	file := r.beside(name)
	b, ok := r.other(field, file)
	if !ok {
		return nil
	}
	at := -1
	r.lines(file, b, func(line int, fields []string) {
		if at < 0 {
			if at = slices.IndexFunc(fields, func(f string) bool { return title == "" || strings.TrimSpace(f) == title }); at < 0 {
				r.sayIn(file, line, "there is no column %q; expected one of %s", title, strings.Join(fields, ", "))
				at = len(fields)
			}
			return
		}
		if at >= len(fields) {
			return
		}
		var a Amount
		if err := a.UnmarshalText([]byte(strings.TrimSpace(fields[at]))); err != nil {
			r.sayIn(file, line, "%v", err)
			return
		}
		values = append(values, a)
	})
	if len(values) == 0 {
		r.say(field, "%s has no values; expected at least one", file)
	}
	return values
}

// byteOrderMark is what spreadsheets put before the UTF-8 that they write.
var byteOrderMark = []byte("\ufeff")

// other reads a file that this one names, without a byte order mark.
func (r *reader) other(field, file string) ([]byte, bool) {
	f, err := os.Open(file)
	if err != nil {
		r.say(field, "%v", err)
		return nil, false
	}
	defer f.Close()
	if i, err := f.Stat(); err != nil || !i.Mode().IsRegular() {
		r.say(field, "%s is no regular file; expected one", file)
		return nil, false
	}
	b, err := io.ReadAll(io.LimitReader(f, maxTrace+1))
	if err == nil && len(b) > maxTrace {
		err = fmt.Errorf("%s has more than %d bytes", file, maxTrace)
	}
	if err != nil {
		r.say(field, "%v", err)
		return nil, false
	}
	return bytes.TrimPrefix(b, byteOrderMark), true
}

// lines calls fn for each record of a CSV file, with its line.
func (r *reader) lines(file string, b []byte, fn func(line int, fields []string)) {
	c := csv.NewReader(bytes.NewReader(b))
	c.FieldsPerRecord, c.ReuseRecord, c.Comment = -1, true, '#'
	for {
		fields, err := c.Read()
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			var p *csv.ParseError
			line := 0
			if errors.As(err, &p) {
				line, err = p.Line, p.Err
			}
			r.sayIn(file, line, "this is no CSV: %v", err)
			return
		}
		line, _ := c.FieldPos(0)
		fn(line, fields)
	}
}
