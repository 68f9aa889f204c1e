package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// document is what a run found.
type document struct {
	machine   string
	races     []standing
	goRows    []goRow
	latencies []latencyRow
	mounts    []string // contenders
	mountRows []mountRow
	catalog   []catalogFigure
	entries   int // of the catalog
}

type goRow struct {
	goFigure
	got float64
}

// standing is one tree's.
type standing struct {
	tree  tree
	names []string
	best  []figures
}

func (d *document) addRace(t tree, all []contender, best []figures) {
	r := standing{tree: t, best: best}
	for _, c := range all {
		r.names = append(r.names, c.name())
	}
	d.races = append(d.races, r)
}

// The marks between which the document is replaced.
const (
	beginMark = "<!-- measured: what follows is written by make bench -->"
	endMark   = "<!-- end of what is measured -->"
)

// write puts the figures into the document at path, or prints them.
func (d *document) write(path string) error {
	text := d.text()
	if path == "" {
		fmt.Print(text)
		return nil
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(old), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return errors.New(path + " has not both marks between which the figures go")
	}
	return os.WriteFile(path, []byte(before+beginMark+"\n\n"+text+"\n"+endMark+after), 0o644)
}

func (d *document) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", d.machine)
	for _, r := range d.races {
		r.table(&b)
	}
	if len(d.goRows) > 0 {
		b.WriteString("\n| Go's benchmarks | measured | target |\n|---|---|---|\n")
		for _, r := range d.goRows {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", r.what, humanize.CommafWithDigits(r.got, 1), r.verdict())
		}
	}
	if len(d.latencies) > 0 {
		fmt.Fprintf(&b, "\n| calls, %d a second on %d connections | p50 | p99 | p99.9 | calls |\n|---|---|---|---|---|\n", loadRate, loadSessions)
		for _, l := range d.latencies {
			fmt.Fprintf(&b, "| %s | %v | %v | %v | %d |\n", l.what, short(l.p50), short(l.p99), short(l.p9n), l.calls)
		}
	}
	if len(d.mounts) > 0 {
		d.mountTable(&b)
	}
	if len(d.catalog) > 0 {
		d.catalogTable(&b)
	}
	return b.String()
}

func (r *goRow) verdict() string {
	switch {
	case r.target == 0 && r.unit == "MB/s":
		return "-"
	case r.atLeast:
		return "at least " + humanize.Commaf(r.target) + missed(r.got >= r.target, r.target/max(r.got, 1e-9))
	}
	return "at most " + humanize.Commaf(r.target) + missed(r.got <= r.target, r.got/max(r.target, 1e-9))
}

func missed(met bool, by float64) string {
	if met {
		return ": met"
	}
	return fmt.Sprintf(": missed, by a factor of %.2f", by)
}

// table writes the rows of one tree, and how the targets are met.
func (r *standing) table(b *strings.Builder) {
	fmt.Fprintf(b, "\n| %s: %s files, %s | backup | restore | backup, MB/s | restore, MB/s |\n|---|---|---|---|---|\n",
		r.tree.name, humanize.Comma(int64(r.tree.files)), humanize.IBytes(uint64(r.tree.bytes)))
	rate := func(d time.Duration) string { return fmt.Sprintf("%.0f", float64(r.tree.bytes)/1e6/d.Seconds()) }
	for i, f := range r.best {
		fmt.Fprintf(b, "| %s | %v | %v | %s | %s |\n", r.names[i], short(f.backup), short(f.restore), rate(f.backup), rate(f.restore))
	}
	ofTar := 0.5
	if r.tree.files < 1000 {
		ofTar = 0.8
	}
	b.WriteString("\n")
	r.compare(b, "Capstan, one host", ofTar, "GNU tar")
	r.compare(b, "Capstan, one host", 2, "Bacula", "restic")
	r.compare(b, "Capstan, two hosts, TLS", 0.9, "bare TLS pipe")
}

// compare says how the rate of one is to the best of others.
func (r *standing) compare(b *strings.Builder, who string, target float64, others ...string) {
	of := func(name string) (figures, bool) {
		for i, n := range r.names {
			if n == name {
				return r.best[i], true
			}
		}
		return figures{}, false
	}
	own, ok := of(who)
	var best figures
	for _, o := range others {
		if f, found := of(o); found {
			best = best.better(f)
		}
	}
	if !ok || best.backup == 0 {
		return
	}
	show := func(what string, ratio float64) string {
		return fmt.Sprintf("%s %.2f%s", what, ratio, missed(ratio >= target, target/ratio))
	}
	fmt.Fprintf(b, "- %s, rate over that of %s, target %.1f: %s; %s.\n", who, strings.Join(others, " or "), target,
		show("backup", best.backup.Seconds()/own.backup.Seconds()), show("restore", best.restore.Seconds()/own.restore.Seconds()))
}

// short shows a time in three digits.
func short(d time.Duration) time.Duration {
	for unit := time.Second; unit > 1; unit /= 10 {
		if d >= unit {
			return d.Round(unit / 100)
		}
	}
	return d
}

// thisMachine says on what, when and with which peers it was measured.
func thisMachine(dir string) string {
	var u unix.Utsname
	var s unix.Sysinfo_t
	var fs unix.Statfs_t
	_ = errors.Join(unix.Uname(&u), unix.Sysinfo(&s), unix.Statfs(dir, &fs)) // unknown stays zero
	cpu := "?"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, _ := strings.Cut(line, ":"); strings.TrimSpace(k) == "model name" {
				cpu = strings.TrimSpace(v)
				break
			}
		}
	}
	return fmt.Sprintf("Measured on %s: %d cores of %s, %s of memory, Linux %s, file system type %Xh, %s.\nPeers: %s; %s; %s.\n",
		time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), cpu, humanize.IBytes(s.Totalram), unix.ByteSliceToString(u.Release[:]),
		fs.Type, runtime.Version(), version("tar", "--version"), version("restic", "version"), version("bacula-fd", "-?"))
}
