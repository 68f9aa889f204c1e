package answers

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"capstan/core/job"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/reports/record"
)

// ExplainJob says in sentences why a job took as long as it did.
func ExplainJob(r *record.Run, id int64) ([]string, error) {
	i := slices.IndexFunc(r.Jobs, func(j record.Job) bool { return j.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("the run has no job %d; its jobs have the numbers up to %d", id, highest(r.Jobs))
	}
	e := explainer{r: r, loc: r.Head.Location()}
	j := &r.Jobs[i]
	e.outcome(j)
	e.window(j)
	e.waiting(j)
	e.working(j)
	return e.out, nil
}

func highest(jobs []record.Job) (id int64) {
	for i := range jobs {
		id = max(id, jobs[i].ID)
	}
	return id
}

// explainer gathers sentences.
type explainer struct {
	r   *record.Run
	loc *time.Location
	out []string
}

func (e *explainer) say(format string, args ...any) {
	e.out = append(e.out, fmt.Sprintf(format, args...))
}

func (e *explainer) clock(t rt.Time) string { return t.Std().In(e.loc).Format("Mon 15:04:05") }

func took(d time.Duration) string { return span(d.Seconds()) }

func (e *explainer) outcome(j *record.Job) {
	size := Metric{Unit: "bytes"}
	what := fmt.Sprintf("Job %d, a backup of %s by policy %s, schedule %s", j.ID, j.Client, j.Policy, j.Schedule)
	if j.Type == job.Restore {
		what = fmt.Sprintf("Job %d, a restore of %s's files", j.ID, j.Client)
	}
	how := fmt.Sprintf("ended %s after it was queued, with status %d", took(j.Elapsed()), j.Status)
	if j.Open {
		how = fmt.Sprintf("had not ended when the run did, %s after it was queued", took(j.Elapsed()))
	}
	e.say("%s, %s.", what, how)
	if j.Bytes > 0 || j.Files > 0 {
		e.out[len(e.out)-1] += fmt.Sprintf(" It moved %s in %s.", size.Text(float64(j.Bytes)), count(int(j.Files), "file", "files"))
	}
	if !j.Open && !j.Status.Succeeded() {
		e.say("It failed: %s%s.", j.Status.Message(), detail(j.Detail))
	}
	if j.Tries > 1 {
		e.say("It took %d tries; what the earlier ones did was done again.", j.Tries)
	}
}

func detail(s string) string {
	if s == "" {
		return ""
	}
	return " (" + strings.TrimRight(s, ". ") + ")"
}

func (e *explainer) window(j *record.Job) {
	over := j.Ended.Sub(j.Closes)
	switch {
	case j.Closes == 0:
	case j.Status == status.WindowClosed:
		e.say("It was never begun: its window closed at %s before it had resources.", e.clock(j.Closes))
	case over > 0:
		e.say("It ended %s after its window closed at %s.", took(over), e.clock(j.Closes))
	default:
		e.say("It ended %s before its window closed at %s.", took(-over), e.clock(j.Closes))
	}
}

// waiting says what it waited for before it had a drive, and who had it.
func (e *explainer) waiting(j *record.Job) {
	for _, k := range []record.Kind{record.Queue, record.Media, record.Limit} {
		d := j.Spent[k]
		if d == 0 {
			continue
		}
		e.say("%s of that was %s (%s).%s", took(d), Name(k), percent(share(d, j.Elapsed())), e.holders(j))
	}
}

func share(d, of time.Duration) float64 { return ratio(float64(d), float64(of)) }

// most of the jobs that held what a job waited for are named, the others counted.
const named = 4

// holders names the jobs that used the storage unit while this one waited, those
// that did so longest first.
func (e *explainer) holders(j *record.Job) string {
	type held struct {
		id     int64
		client string
		d      time.Duration
	}
	until := j.Started
	if until == 0 {
		until = j.Ended
	}
	var all []held
	for i := range e.r.Jobs {
		o := &e.r.Jobs[i]
		if o.ID == j.ID || o.Started == 0 || j.Storage != "" && o.Storage != j.Storage {
			continue
		}
		if d := min(o.Ended, until).Sub(max(o.Started, j.Queued)); d > 0 {
			all = append(all, held{o.ID, o.Client, d})
		}
	}
	slices.SortFunc(all, func(a, b held) int { return cmp.Or(-cmp.Compare(a.d, b.d), cmp.Compare(a.id, b.id)) })
	if len(all) == 0 {
		return ""
	}
	var names []string
	for _, h := range all[:min(named, len(all))] {
		names = append(names, fmt.Sprintf("job %d of %s (%s)", h.id, h.client, took(h.d)))
	}
	s := " Meanwhile " + count(len(all), "other job", "other jobs") + " worked there, longest " + strings.Join(names, ", ")
	return s + "."
}

// working says what held it up once it had its resources.
func (e *explainer) working(j *record.Job) {
	if j.Started == 0 {
		return
	}
	work := record.Spent{}
	for _, k := range record.Kinds() {
		if d := j.Spent[k]; d > 0 && !k.Waiting() {
			work[k] = d
		}
	}
	total := work.Total()
	if total == 0 {
		return
	}
	order := slices.Clone(record.Kinds())
	slices.SortStableFunc(order, func(a, b record.Kind) int { return cmp.Compare(work[b], work[a]) })
	var parts []string
	for _, k := range order[:3] {
		if share(work[k], total) >= .01 {
			parts = append(parts, fmt.Sprintf("%s by %s (%s)", took(work[k]), Name(k), percent(share(work[k], total))))
		}
	}
	e.say("From %s, when it had its resources, it worked for %s, limited %s.", e.clock(j.Started), took(total), strings.Join(parts, ", "))
	if d := j.Last.Sub(j.First); d > 0 {
		rate := Metric{Unit: "bytes"}
		e.say("Its data moved for %s, at %s a second%s.", took(d), rate.Text(float64(j.Bytes)/d.Seconds()), e.driveSpeed(j))
	}
	if most, _ := j.Spent.Most(); most != record.Other {
		e.say("To try: %s.", advice(most))
	}
}

// driveSpeed says what its drive could have taken.
func (e *explainer) driveSpeed(j *record.Job) string {
	for i := range e.r.Head.Resources {
		if d := &e.r.Head.Resources[i]; d.Kind == record.Drive && d.Name == j.Drive && d.Rate > 0 {
			rate := Metric{Unit: "bytes"}
			return fmt.Sprintf("; its drive, %s, takes %s", d.Name, rate.Text(float64(d.Rate)))
		}
	}
	return ""
}

// ExplainNight says in sentences how a night went and why: the nth of the run, from 1,
// or that of a date such as 2026-11-23. What the warm-up leaves out of figures is a
// night like others here.
func ExplainNight(r *record.Run, which string) ([]string, error) {
	all := *r
	all.Head.Warmup = 0
	a := Of(&all)
	n := 0
	night := slices.IndexFunc(a.Nights, func(o Night) bool {
		n++
		return o.Date == which || fmt.Sprint(n) == which
	})
	if night < 0 {
		return nil, fmt.Errorf("the run has no night %s; expected 1 to %d, or a date such as %s", which, len(a.Nights), firstDate(a))
	}
	e := explainer{r: r, loc: r.Head.Location()}
	e.night(a, &a.Nights[night], night+1)
	return e.out, nil
}

func firstDate(a *Answers) string {
	if len(a.Nights) == 0 {
		return a.From.Format(time.DateOnly)
	}
	return a.Nights[0].Date
}

func (e *explainer) night(a *Answers, o *Night, n int) {
	one := *a
	one.Windows, one.Nights, one.Backups = o.Windows, []Night{*o}, o.Shares
	e.say("Night %d, of %s.", n, o.Date)
	e.out = append(e.out, one.sayFit())
	if !math.IsNaN(o.Over) && o.Over > 0 {
		e.say("The last backup ended %s after its window had closed.", span(o.Over))
	}
	if s := one.sayLimit(); s != "" {
		e.out = append(e.out, s)
	}
	var jobs []*record.Job
	for i := range e.r.Jobs {
		if j := &e.r.Jobs[i]; j.Type == job.Backup && o.Has(j.Queued) {
			jobs = append(jobs, j)
		}
	}
	slices.SortStableFunc(jobs, func(a, b *record.Job) int { return cmp.Compare(b.Elapsed(), a.Elapsed()) })
	for _, j := range jobs[:min(len(jobs), named)] {
		k, part := j.Spent.Most()
		e.say("Job %d of %s took %s from its request, %s of it %s.", j.ID, j.Client, took(j.Elapsed()), percent(part), Name(k))
	}
}
