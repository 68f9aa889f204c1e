package workload

import (
	"math"

	"capstan/scenarios"
)

// The survey whose means are the defaults: G. Amvrosiadis and M. Bhadkamkar,
// Identifying Trends in Enterprise Data Protection Systems, USENIX ATC 2015: 40,000
// NetBackup domains, 2012 to 2014. A full backup has 47.1 GB in 75,916 files, an
// incremental one 34.9 GB in 52,033, a restore 51.8 GB in 73,223. In 29 % of the
// domains fulls are no larger than incrementals, in 21 % 1 to 1.5 times as large, in
// the others more.
const (
	surveyFull         = 47.1e9
	surveyFullFiles    = 75_916
	surveyIncremental  = 34.9e9
	surveyChangedFiles = 52_033
	surveyRestore      = 51.8e9
)

// kind is one of the kinds of client that the survey's three groups stand for.
type kind struct {
	share  float64
	bytes  scenarios.Law
	change scenarios.Law
}

// kinds are fitted to the survey. In the first all data changes each day, as where
// databases are dumped; in the second 1/1.5 to all of it, in the third a thousandth
// to 1/1.5, evenly in powers of ten. These laws of change are assumptions within the
// published bounds. With them the published means follow if the clients of the first
// kind hold 100.6 GB and the others 25.3 GB in the mean: that solves
//
//	.29 A + .71 B = 47.1    and    .29 A + (.21 × .833 + .50 × .1028) B = 34.9
//
// A sigma of 1.2 in each kind gives one of 1.35 over all, and a median of 15 GB.
var kinds = [3]kind{
	{.29, lognormal(100.67e9), scenarios.Law{Law: "constant", Value: 1}},
	{.21, lognormal(25.22e9), scenarios.Law{Law: "uniform", From: 1 / 1.5, To: 1}},
	{.50, lognormal(25.22e9), scenarios.Law{Law: "log-uniform", From: 1e-3, To: 1 / 1.5}},
}

func lognormal(mean scenarios.Amount) scenarios.Law {
	return scenarios.Law{Law: "log-normal", Mean: mean, Sigma: 1.2}
}

// Assumptions where nothing is published.
var (
	burstLaw = scenarios.Law{Law: "uniform", From: .1, To: .5}
	fixedLaw = scenarios.Law{Law: "exponential", Mean: 3} // days
	ageLaw   = scenarios.Law{Law: "exponential", Mean: 7} // days
	// restoreLaw has the survey's mean, and the spread of the sizes of backups.
	restoreLaw = scenarios.Law{Law: "log-normal", Mean: surveyRestore, Sigma: 1.35}
)

// daysInYear is a year's length for rates and growth.
const daysInYear = 365

// Day is what a client holds on a day, and what of that is new or changed since
// the day before.
type Day struct {
	Files, Bytes               int64
	ChangedFiles, ChangedBytes int64
}

// Client is what one client holds, day by day.
type Client struct {
	src   Source
	name  string
	load  scenarios.ClientLoad
	bytes float64 // on day 0
	files float64
	ratio float64   // of the data that changes in a day
	grown []float64 // by which factor until each day, as far as it is known
	ills  []ill     // misconfigurations, by their beginning
	known int64     // days that ills covers
}

// ill is a time in which each backup of a client fails, in days.
type ill struct{ from, to float64 }

// NewClient makes the client of a name, as an entry of a workload says.
func NewClient(src Source, name string, load *scenarios.ClientLoad) *Client {
	c := &Client{src: src, name: name, load: *load}
	k := &kinds[2]
	switch u := src.Uniform(name, "kind", 0); {
	case u < kinds[0].share:
		k = &kinds[0]
	case u < kinds[0].share+kinds[1].share:
		k = &kinds[1]
	}
	c.bytes = src.Draw(or(load.Bytes, &k.bytes), name, "bytes", 0)
	c.files = c.bytes * surveyFullFiles / surveyFull
	if load.Files != nil {
		c.files = src.Draw(load.Files, name, "files", 0)
	}
	c.ratio = src.Draw(or(load.Change, &k.change), name, "change", 0)
	return c
}

// Fixed is a client with the same data each day, of which a part changes.
func Fixed(name string, d *scenarios.Data) *Client {
	return &Client{
		name: name, bytes: float64(d.Bytes), files: float64(d.Files), ratio: d.ChangeRate,
		load: scenarios.ClientLoad{Root: d.Root},
	}
}

func or(l, other *scenarios.Law) *scenarios.Law {
	if l != nil {
		return l
	}
	return other
}

// Root is the directory of the client's data.
func (c *Client) Root() string { return c.load.Root }

// The bounds of what a client can hold.
const (
	maxBytes = 1 << 59
	maxFiles = 1e10
)

// Day is what the client holds on a day. On day 0 nothing has changed yet.
func (c *Client) Day(n int) Day {
	size := func(n int) int64 { return int64(min(c.bytes*c.growth(n), maxBytes)) }
	d := Day{Bytes: size(n)}
	d.Files = int64(max(1, min(c.files*c.growth(n), maxFiles)))
	if n == 0 {
		return d
	}
	ratio := c.ratio
	if c.load.Nightly != nil {
		ratio *= c.src.Draw(c.load.Nightly, c.name, "nightly", int64(n))
	}
	grown := max(0, d.Bytes-size(n-1))
	d.ChangedBytes = min(d.Bytes, int64(min(ratio, 1)*float64(d.Bytes))+grown)
	if d.ChangedBytes > 0 {
		// Changed files are larger than others, by as much as in the survey.
		part := float64(d.ChangedBytes) / float64(d.Bytes) * (surveyChangedFiles / surveyIncremental) / (surveyFullFiles / surveyFull)
		d.ChangedFiles = min(d.Files, max(1, int64(part*float64(d.Files))))
	}
	return d
}

// growth is by which factor the data has grown until a day: steadily, and by bursts.
func (c *Client) growth(n int) float64 {
	if c.load.Growth == 0 && c.load.Bursts == 0 {
		return 1
	}
	if c.grown == nil {
		c.grown = []float64{1}
	}
	daily := Exp(Ln(1+float64(c.load.Growth)) / daysInYear)
	for len(c.grown) <= n {
		day := int64(len(c.grown))
		f := c.grown[day-1] * daily
		if c.src.happens(c.name, "burst", day, float64(c.load.Bursts)/daysInYear) {
			f *= 1 + c.src.Draw(or(c.load.Burst, &burstLaw), c.name, "burst size", day)
		}
		c.grown = append(c.grown, f)
	}
	return c.grown[n]
}

// happens tells whether something does that has a probability.
func (s Source) happens(entity, purpose string, n int64, p float64) bool {
	return p > 0 && s.Uniform(entity, purpose, n) < p
}

// Ill tells whether the client is misconfigured at a time, in days from the start:
// it becomes so at a random time of a day, and stays so until it is fixed.
func (c *Client) Ill(at float64) bool {
	p := float64(c.load.Misconfigured) / daysInYear
	if p == 0 || at < 0 {
		return false
	}
	for ; c.known <= int64(at); c.known++ {
		if c.src.happens(c.name, "misconfigured", c.known, p) {
			from := float64(c.known) + c.src.Uniform(c.name, "misconfigured at", c.known)
			c.ills = append(c.ills, ill{from, from + c.src.Draw(or(c.load.Fixed, &fixedLaw), c.name, "fixed", c.known)})
		}
	}
	for _, i := range c.ills {
		if i.from <= at && at < i.to {
			return true
		}
	}
	return false
}

// Try tells a try of a client's backups from all others, whatever else the site does
// and in whatever order.
type Try struct {
	Policy, Schedule string
	Day              int // of the job's beginning
	Job              int // which of the schedule's jobs of that day, from 1
	Try              int // of the job, from 1
}

// Dies tells whether a try of a backup fails for a reason that passes, and after
// which part of its work.
func (c *Client) Dies(t Try) (after float64, dies bool) {
	n := int64(t.Day)<<32 | int64(t.Job)<<16 | int64(t.Try)
	of := " of " + t.Policy + "/" + t.Schedule // neither name has a slash
	if !c.src.happens(c.name, "transient"+of, n, float64(c.load.Transient)) {
		return 0, false
	}
	return c.src.Uniform(c.name, "transient after"+of, n), true
}

// round is a size in bytes of a draw.
func round(v float64) int64 { return int64(math.Min(math.Max(v, 1), maxBytes)) }
