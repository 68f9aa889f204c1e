package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"capstan/core/bpdbm"
	"capstan/core/bprd"
	"capstan/core/job"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/status"
	"capstan/core/trace"
	"capstan/internal/real/loopback"
	"capstan/internal/sametree"
	"capstan/reports"
)

func init() { commands = append(commands, newDemoCommand) }

func newDemoCommand() *cobra.Command {
	var d demo
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show all of it at work on this machine",
		Long: `Backs a directory up for real, with nothing but this machine: it makes a domain
of three hosts in a temporary directory, a master, a media server with a virtual
tape library (two drives, eight cartridges) and a client, runs their daemons on
the loopback interface, backs the directory up to tape and to disk, lists what was
backed up, restores it from tape to another place, and compares it with the
original: contents, modes, owners, times, links, attributes.

It needs about three times the directory's space for temporary files, removes them
at its end, and leaves no process behind.

` + exitCodes + ` Also 1 if what was restored differs.`,
		Example: "  capstan demo --dir /usr/local/go/src",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.out, d.reports = cmd.OutOrStdout(), output(cmd)
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&d.source, "dir", ".", "directory to back up")
	cmd.Flags().BoolVar(&d.keep, "keep", false, "keep the temporary files, and say where they are")
	addZoneFlag(cmd)
	return cmd
}

// demo is one run of the demonstration.
type demo struct {
	source  string
	keep    bool
	out     io.Writer
	reports reports.Options

	temp   string
	domain *loopback.Domain
	jobs   []job.Job
}

// demoPolicy is the name of the policy.
const demoPolicy = "demo"

func (d *demo) run(ctx context.Context) (err error) {
	if err := d.prepare(); err != nil {
		return err
	}
	defer func() {
		if ctx.Err() != nil {
			err = errors.New("the demonstration was interrupted")
		}
		err = errors.Join(err, d.clean())
		if err == nil {
			d.say("\nAll is well.")
		}
	}()
	d.title("A domain of three hosts: %s, %s and %s", loopback.Master, loopback.Media, loopback.Client)
	d.domain, err = loopback.New(ctx, loopback.Options{Dir: d.temp, Command: daemonProcess})
	if err != nil {
		return err
	}
	s, err := d.domain.Session(ctx)
	if err != nil {
		return err
	}
	return d.play(s.Context())
}

// daemonProcess runs the daemon of a host as a process of this very program.
func daemonProcess(kind, config string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", kind, "--config", config)
	c.Args[0] = "capstan"
	return c
}

// prepare finds the directory and makes the temporary one.
func (d *demo) prepare() (err error) {
	if d.source, err = filepath.Abs(d.source); err == nil {
		d.source, err = filepath.EvalSymlinks(d.source)
	}
	var info fs.FileInfo
	if err == nil {
		info, err = os.Stat(d.source)
	}
	if err != nil {
		return wrong("--dir: %w", err)
	}
	if !info.IsDir() {
		return wrong("--dir %s: want a directory", d.source)
	}
	if d.temp, err = os.MkdirTemp("", "capstan-demo-"); err != nil {
		return err
	}
	if rel, err := filepath.Rel(d.source, d.temp); err == nil && filepath.IsLocal(rel) {
		return errors.Join(wrong("--dir %s: the temporary files would be in it; choose another, or set TMPDIR", d.source), os.RemoveAll(d.temp))
	}
	return nil
}

// clean ends everything and removes the temporary files.
func (d *demo) clean() error {
	var err error
	if d.domain != nil {
		err = d.domain.Close()
	}
	if d.keep {
		d.say("\nThe files of the hosts, their logs and what was restored are in %s.", d.temp)
		return err
	}
	return errors.Join(err, removeAll(d.temp))
}

// removeAll removes a tree, even of directories that their owner may not write.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

func (d *demo) title(format string, args ...any) { d.say("\n== "+format, args...) }

// play backs up, lists, restores and compares.
func (d *demo) play(ctx context.Context) error {
	if err := d.domain.PutPolicy(ctx, policy.Policy{
		Name: demoPolicy, Active: true, Clients: []string{loopback.Client}, Paths: []string{d.source}, Storage: "tape",
		Schedules: []policy.Schedule{{Name: "full", Type: policy.Full}}, Retention: 14 * 24 * time.Hour,
	}); err != nil {
		return err
	}
	var images []string
	for _, storage := range []string{"tape", "disk"} {
		d.title("Backup of %s to %s", d.source, storage)
		id, err := d.domain.StartBackup(ctx, demoPolicy, storage)
		if err != nil {
			return err
		}
		j, err := d.follow(ctx, id)
		if err != nil {
			return err
		}
		images = append(images, j.BackupID)
	}
	if err := d.list(ctx, images[0]); err != nil {
		return err
	}
	to := filepath.Join(d.temp, "restored")
	d.title("Restore of %s from tape to %s", images[0], to)
	id, err := d.domain.StartRestore(ctx, bprd.Request{Image: images[0], StripTo: filepath.Dir(d.source), Target: to})
	if err != nil {
		return err
	}
	if _, err := d.follow(ctx, id); err != nil {
		return err
	}
	report, took, err := d.compare(filepath.Join(to, filepath.Base(d.source)))
	if err != nil {
		return err
	}
	return d.summary(ctx, report, took)
}

// follow shows a job until it has ended, and fails if the job has.
func (d *demo) follow(ctx context.Context, id int64) (job.Job, error) {
	js, err := waitFor(ctx, loopback.Master, []int64{id}, d.out)
	if err != nil {
		return job.Job{}, err
	}
	d.jobs = append(d.jobs, js[0])
	if js[0].Status == status.Partial {
		d.say("Some files could not be read; the job's log names them:")
		return js[0], d.log(ctx, id)
	}
	if err := judge(js); err != nil {
		return js[0], errors.Join(err, d.log(ctx, id))
	}
	return js[0], nil
}

// log shows what a job has to say.
func (d *demo) log(ctx context.Context, id int64) error {
	lines, err := d.domain.Lines(ctx, id)
	for _, l := range lines {
		d.say("  %s %s %s: %s", l.Time.Std().Format(time.TimeOnly), l.Host, l.Role, l.Text)
	}
	return err
}

// shownFiles is how many files of an image are shown.
const shownFiles = 10

// list shows the images, and the first files of one.
func (d *demo) list(ctx context.Context, id string) error {
	at := pbx.At(loopback.Master, bpdbm.Service)
	d.title("Images")
	images, err := bpdbm.Images.Call(ctx, at, bpdbm.Query{Client: loopback.Client})
	if err != nil {
		return err
	}
	rows := make([]reports.Image, len(images.Images))
	for i := range images.Images {
		rows[i] = imageRow(&images.Images[i])
	}
	if err := reports.WriteImages(d.out, rows, d.reports); err != nil {
		return err
	}
	d.title("The first files of %s in %s", id, d.source)
	dir, err := bpdbm.ListDir.Call(ctx, at, bpdbm.Dir{BackupID: id, Path: d.source, Limit: shownFiles})
	if err != nil {
		return err
	}
	files := make([]reports.File, len(dir.Entries))
	for i := range dir.Entries {
		files[i] = fileRow(&dir.Entries[i])
	}
	return reports.WriteFiles(d.out, files, d.reports)
}

// compare compares what was restored with the original.
func (d *demo) compare(restored string) (sametree.Report, time.Duration, error) {
	d.title("Comparison of %s with %s", restored, d.source)
	begin := time.Now()
	r, err := sametree.Compare(d.source, restored)
	if err != nil {
		return r, 0, err
	}
	for _, text := range r.Differences {
		d.say("  %s", text)
	}
	if r.Different > 0 {
		return r, 0, fmt.Errorf("what was restored differs from the original in %d ways", r.Different)
	}
	d.say("%s files, links and directories with %s are the same: contents, modes, owners, times, links, attributes.",
		reports.Count(r.Entries), reports.Size(r.Bytes))
	return r, time.Since(begin), nil
}

// summary shows what was done, how fast, and which steps of the flow it took.
func (d *demo) summary(ctx context.Context, r sametree.Report, compared time.Duration) error {
	d.title("Summary")
	rows := make([]reports.Job, len(d.jobs))
	for i := range d.jobs {
		rows[i] = jobRow(&d.jobs[i])
	}
	if err := reports.WriteJobs(d.out, rows, d.reports); err != nil {
		return err
	}
	d.say("Compared %s in %s (%s).", reports.Size(r.Bytes), reports.Duration(compared), reports.Rate(r.Bytes, compared))
	for _, i := range []int{0, len(d.jobs) - 1} {
		events, err := d.domain.Trace(ctx, d.jobs[i].ID)
		if err != nil {
			return err
		}
		d.say("Job %d went through %s", d.jobs[i].ID, stepsOf(events))
	}
	return nil
}

// stepsOf names the steps of a trace, in order.
func stepsOf(events []trace.Event) string {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b trace.Event) int { return a.Begin.Compare(b.Begin) })
	text, n := "", 0
	seen := map[string]bool{}
	for i := range events {
		if s := events[i].Step; s != "" && !seen[s] {
			seen[s] = true
			text += " " + s
			n++
		}
	}
	return fmt.Sprintf("%d steps of the flow:%s", n, text)
}
