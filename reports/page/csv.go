package page

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"capstan/core/rt"
	"capstan/reports/answers"
	"capstan/reports/record"
)

// JSON writes the answers of the runs, and their figures with intervals.
func JSON(w io.Writer, runs []*record.Run) error {
	r := newReport(runs)
	out := struct {
		Words   []string           `json:"words"`
		Figures []answers.Estimate `json:"figures"`
		Runs    []*answers.Answers `json:"runs"`
	}{r.all[0].Words(), r.estimates(), r.all}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(out); err != nil {
		return fmt.Errorf("writing a report as JSON: %w", err)
	}
	return nil
}

// CSV writes the figures, and every record that they are made of, as files of a
// directory: figures.csv, nights.csv, jobs.csv, mounts.csv, media.csv and use.csv.
// Times are RFC 3339 in UTC, durations seconds, sizes bytes.
func CSV(dir string, runs []*record.Run) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	r := newReport(runs)
	for _, f := range []struct {
		name string
		rows func(put func(...string))
	}{{"figures.csv", r.figuresCSV}, {"nights.csv", r.nightsCSV}, {"jobs.csv", r.jobsCSV}, {"mounts.csv", r.mountsCSV}, {"media.csv", r.mediaCSV}, {"use.csv", r.useCSV}} {
		if err := writeCSV(filepath.Join(dir, f.name), f.rows); err != nil {
			return err
		}
	}
	return nil
}

func writeCSV(name string, rows func(put func(...string))) error {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	w := csv.NewWriter(file)
	rows(func(cells ...string) { _ = w.Write(cells) }) // the writer keeps its error
	w.Flush()
	if err := errors.Join(w.Error(), file.Close()); err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	return nil
}

// The forms of cells: what is not there is empty.
func moment(t rt.Time) string {
	if t == 0 {
		return ""
	}
	return t.Std().Format("2006-01-02T15:04:05.000Z07:00")
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

func decimal(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', 10, 64)
}

func integer[T int | int64](n T) string { return strconv.FormatInt(int64(n), 10) }

func (r *report) figuresCSV(put func(...string)) {
	put("figure", "unit", "better", "value", "low", "high", "confidence", "replications")
	for _, e := range r.estimates() {
		i := e.Interval
		put(e.Name, e.Unit, e.Better, decimal(i.Value), decimal(i.Low), decimal(i.High), decimal(i.Level), integer(i.N))
	}
}

// spentTitles are the columns of time by kind.
func spentTitles() (all []string) {
	for _, k := range record.Kinds() {
		all = append(all, "s_"+strings.ReplaceAll(string(k), "-", "_"))
	}
	return all
}

func spentCells(s record.Spent) (all []string) {
	for _, k := range record.Kinds() {
		all = append(all, seconds(s[k]))
	}
	return all
}

func (r *report) nightsCSV(put func(...string)) {
	put(append([]string{"replication", "night", "backups", "due", "inside", "late", "not_run", "failed", "open", "bytes", "s_over", "limit", "share"}, spentTitles()...)...)
	for _, a := range r.all {
		for i := range a.Nights {
			n := &a.Nights[i]
			w := &n.Windows
			put(append([]string{
				integer(a.Replication), n.Date, integer(n.Shares.Jobs), integer(w.Due), integer(w.Inside), integer(w.Late), integer(w.NotRun), integer(w.Failed), integer(w.Open),
				integer(w.Bytes), decimal(n.Over), string(n.Limit), decimal(n.Share),
			}, spentCells(n.Shares.Spent)...)...)
		}
	}
}

func (r *report) jobsCSV(put func(...string)) {
	put(append([]string{"replication", "job", "type", "status", "tries", "policy", "schedule", "client", "storage", "server", "drive", "media", "bytes", "files",
		"opens", "closes", "queued", "started", "mounted", "first", "last", "ended"}, spentTitles()...)...)
	for _, run := range r.runs {
		for i := range run.Jobs {
			j := &run.Jobs[i]
			status := integer(int(j.Status))
			if j.Open {
				status = ""
			}
			put(append([]string{
				integer(run.Head.Replication), integer(j.ID), string(j.Type), status, integer(j.Tries), j.Policy, j.Schedule, j.Client, j.Storage, j.Server, j.Drive,
				strings.Join(j.Media, " "), integer(j.Bytes), integer(j.Files), moment(j.Opens), moment(j.Closes), moment(j.Queued), moment(j.Started),
				moment(j.Mounted), moment(j.First), moment(j.Last), moment(j.Ended),
			}, spentCells(j.Spent)...)...)
		}
	}
}

func (r *report) mountsCSV(put func(...string)) {
	put("replication", "job", "drive", "media", "status", "kept", "asked", "s_robot", "ready", "released", "empty")
	for _, run := range r.runs {
		for i := range run.Mounts {
			m := &run.Mounts[i]
			put(integer(run.Head.Replication), integer(m.Job), m.Drive, m.Media, integer(int(m.Status)), strconv.FormatBool(m.Kept), moment(m.Asked), seconds(m.Robot), moment(m.Ready), moment(m.Released), moment(m.Empty))
		}
	}
}

func (r *report) mediaCSV(put func(...string)) {
	put("replication", "at", "library", "scratch", "free", "active", "full", "held", "bytes")
	for _, run := range r.runs {
		for i := range run.Volumes {
			v := &run.Volumes[i]
			put(integer(run.Head.Replication), moment(v.At), v.Library, integer(v.Scratch), integer(v.Free), integer(v.Active), integer(v.Full), integer(v.Held), integer(v.Bytes))
		}
	}
}

func (r *report) useCSV(put func(...string)) {
	put("replication", "hour", "name", "kind", "bytes", "s_busy", "s_write", "s_slow", "s_read", "s_position", "s_load", "s_held")
	for _, run := range r.runs {
		for i := range run.Use {
			u := &run.Use[i]
			put(integer(run.Head.Replication), moment(u.At), u.Name, string(u.Kind), integer(u.Bytes), seconds(u.Busy), seconds(u.Write), seconds(u.Slow), seconds(u.Read), seconds(u.Position), seconds(u.Load), seconds(u.Held))
		}
	}
}
