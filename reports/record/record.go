package record

import (
	"encoding/json"
	"fmt"
	"time"

	"capstan/core/job"
	"capstan/core/rt"
	"capstan/core/status"
)

// Version is that of the directory's format.
const Version = 1

// Kind is a kind of resource: what a job's time was spent on or waiting for.
type Kind string

// The kinds. Those up to Drive limit data on its way; the others are waits.
const (
	Source Kind = "source" // a client's disks
	Link   Kind = "link"   // a client's network interface, or a link between two hosts
	// Connection is the most that one connection of a client's carries, whatever its link does.
	Connection Kind = "connection"
	Network    Kind = "network"    // a media server's network interface
	Server     Kind = "server"     // a media server's disks
	Drive      Kind = "drive"      // a tape drive's speed
	Position   Kind = "position"   // a drive loads, locates, writes marks, rewinds
	Robot      Kind = "robot"      // the robot carries cartridges, or others' cartridges first
	Queue      Kind = "drive-wait" // all drives are in use
	Media      Kind = "media"      // every cartridge that would do is in use
	Limit      Kind = "limit"      // a policy, a client or a storage unit has the jobs that it may have
	Other      Kind = "other"      // processes start, the catalog is written, a retry is waited for, hosts are away
)

// kinds are all kinds, in the order in which reports show them.
var kinds = [...]Kind{Source, Link, Connection, Network, Server, Drive, Position, Robot, Queue, Media, Limit, Other}

// Kinds are all kinds, in the order in which reports show them.
func Kinds() []Kind { return kinds[:] }

// known gives the place of a kind in kinds; -1 if it is none.
func known(k Kind) int {
	for i, other := range kinds {
		if k == other {
			return i
		}
	}
	return -1
}

// Waiting tells whether a job that spends time on the kind has no drive or disk yet.
func (k Kind) Waiting() bool { return k == Queue || k == Media || k == Limit }

// Spent is time by kind.
type Spent map[Kind]time.Duration

// Total is the sum.
func (s Spent) Total() (sum time.Duration) {
	for _, d := range s {
		sum += d
	}
	return sum
}

// Add adds other's times.
func (s Spent) Add(other Spent) {
	for k, d := range other {
		s[k] += d
	}
}

// Most is the kind with the most time, and its share from 0 to 1. The earlier of
// Kinds wins a tie; no time at all is Other.
func (s Spent) Most() (most Kind, share float64) {
	most = Other
	for _, k := range Kinds() {
		if s[k] > s[most] {
			most = k
		}
	}
	if total := s.Total(); total > 0 {
		share = float64(s[most]) / float64(total)
	}
	return most, share
}

// Job is a job that has ended, or one that had not when the run did.
type Job struct {
	ID       int64       `json:"id"`
	Type     job.Type    `json:"type"`
	Status   status.Code `json:"status"`
	Open     bool        `json:"open,omitempty"` // it had not ended
	Detail   string      `json:"detail,omitempty"`
	Tries    int         `json:"tries"`
	Policy   string      `json:"policy,omitempty"`
	Schedule string      `json:"schedule,omitempty"`
	Client   string      `json:"client"`
	Storage  string      `json:"storage,omitempty"`
	Server   string      `json:"server,omitempty"` // media server
	Drive    string      `json:"drive,omitempty"`  // the last one
	Media    []string    `json:"media,omitempty"`  // at most MaxMedia
	Bytes    int64       `json:"bytes"`
	Files    int64       `json:"files"`
	// Opens and Closes are the window in which it was due; 0 if it has none.
	Opens  rt.Time `json:"opens,omitempty"`
	Closes rt.Time `json:"closes,omitempty"`
	Queued rt.Time `json:"queued"`
	// Started is when it had its resources, Mounted when its first cartridge was
	// ready, First and Last when data began and ended to move; 0 is never.
	Started rt.Time `json:"started,omitempty"`
	Mounted rt.Time `json:"mounted,omitempty"`
	First   rt.Time `json:"first,omitempty"`
	Last    rt.Time `json:"last,omitempty"`
	Ended   rt.Time `json:"ended"` // or when the run did
	// Spent is where the time from Queued to Ended went, all of it.
	Spent Spent `json:"spent"`
}

// Elapsed is the time from Queued to Ended.
func (j *Job) Elapsed() time.Duration { return j.Ended.Sub(j.Queued) }

// Bounds of a job's record: it stays under a KiB.
const (
	MaxMedia = 8
	maxText  = 120
)

// Mount is a cartridge in a drive.
type Mount struct {
	Job    int64         `json:"job"`
	Drive  string        `json:"drive"`
	Media  string        `json:"media"`
	Status status.Code   `json:"status,omitempty"` // it failed
	Kept   bool          `json:"kept,omitempty"`   // the cartridge was in the drive already
	Asked  rt.Time       `json:"asked"`
	Robot  time.Duration `json:"robot"` // of the wait: for the robot
	Ready  rt.Time       `json:"ready"`
	// Released is when the drive was told to give it back, Empty when it had; 0 is never.
	Released rt.Time `json:"released,omitempty"`
	Empty    rt.Time `json:"empty,omitempty"`
}

// Wait is how long it took until the cartridge was ready.
func (m *Mount) Wait() time.Duration { return m.Ready.Sub(m.Asked) }

// Volumes is how many cartridges there are of each state in one library, at a time.
// One is recorded when it differs from the last.
type Volumes struct {
	At      rt.Time `json:"at"`
	Library string  `json:"library"`
	Scratch int     `json:"scratch"` // free, of the scratch pool
	Free    int     `json:"free"`    // without images, of another pool
	Active  int     `json:"active"`  // with images and room
	Full    int     `json:"full"`
	Held    int     `json:"held"` // frozen or suspended
	Bytes   int64   `json:"bytes"`
}

// Cartridge is one with images.
type Cartridge struct {
	Library string  `json:"library"`
	Taken   rt.Time `json:"taken"` // when the first of its images was written
	// Frees is when the last that is on it so far expires; 0 is never.
	Frees rt.Time       `json:"frees,omitempty"`
	Kept  time.Duration `json:"kept,omitempty"` // how long its images are; 0 is for ever
	Full  bool          `json:"full,omitempty"`
}

// Imported tells that the cartridge's images were imported: they expire, but nothing says
// how long they were to be kept.
func (c *Cartridge) Imported() bool { return c.Kept == 0 && c.Frees != 0 }

// Total is the number of cartridges that are in the library's slots and drives,
// those for cleaning left out.
func (v *Volumes) Total() int { return v.Scratch + v.Free + v.Active + v.Full + v.Held }

// Use is what a resource did in one hour.
type Use struct {
	At    rt.Time `json:"at"` // the hour's beginning
	Name  string  `json:"name"`
	Kind  Kind    `json:"kind"`
	Bytes int64   `json:"bytes,omitempty"`
	// Busy is a robot's, whether it moves or others wait for it.
	Busy time.Duration `json:"busy,omitempty"`
	// A drive's: data at its own speed, data that came more slowly than it could write,
	// reading, locating and rewinding, threading and ejecting, and all the time with a
	// cartridge ready in it.
	Write    time.Duration `json:"write,omitempty"`
	Slow     time.Duration `json:"slow,omitempty"`
	Read     time.Duration `json:"read,omitempty"`
	Position time.Duration `json:"position,omitempty"`
	Load     time.Duration `json:"load,omitempty"`
	Held     time.Duration `json:"held,omitempty"`
}

// Resource is a drive, a robot, or what data crosses, and its rate.
type Resource struct {
	Name    string `json:"name"`
	Kind    Kind   `json:"kind"`
	Library string `json:"library,omitempty"` // of a drive
	Model   string `json:"model,omitempty"`
	Rate    int64  `json:"rate,omitempty"` // bytes a second; 0 is not known
	// A drive's life so far, if it counts: tape stopped and backed up because data was late.
	BackHitches int64 `json:"backHitches,omitempty"`
	// Slots of a robot's library.
	Slots int `json:"slots,omitempty"`
}

// Head is what there is of a run beside its records.
type Head struct {
	Version     int           `json:"version"`
	Scenario    string        `json:"scenario"` // or the domain
	Seed        int64         `json:"seed"`
	Replication int           `json:"replication"`
	Real        bool          `json:"real,omitempty"` // a real domain's life, not a planning run
	Start       rt.Time       `json:"start"`
	Length      time.Duration `json:"length"`
	// Warmup is how long from the start what happens says nothing of the domain's
	// usual life: figures leave it out.
	Warmup    time.Duration `json:"warmup,omitempty"`
	Zone      string        `json:"zone,omitempty"` // IANA name; "" is UTC
	Resources []Resource    `json:"resources"`
	// Cartridges are those in use at the end.
	Cartridges []Cartridge `json:"cartridges,omitempty"`
	// The numbers of records.
	Jobs   int64 `json:"jobs"`
	Mounts int64 `json:"mounts"`
	Media  int64 `json:"media"`
	Uses   int64 `json:"uses"`
}

// Location is the zone that a person reads the run's times in.
func (h *Head) Location() *time.Location {
	if loc, err := time.LoadLocation(h.Zone); err == nil {
		return loc
	}
	return time.UTC
}

// End is when the run ended.
func (h *Head) End() rt.Time { return h.Start.Add(h.Length) }

// Sink takes the records of a run as they are finished, and the head at its end.
type Sink interface {
	PutJob(j *Job) error
	PutMount(m *Mount) error
	PutVolumes(v *Volumes) error
	// Finish takes the use of the resources and the head, whose numbers of records it fills in.
	Finish(h Head, use []Use) error
}

// Run is a run in memory.
type Run struct {
	Head    Head
	Jobs    []Job // in order of their end
	Mounts  []Mount
	Volumes []Volumes
	Use     []Use // by hour, then name
}

var _ Sink = (*Run)(nil)

// PutJob adds a job.
func (r *Run) PutJob(j *Job) error { r.Jobs = append(r.Jobs, *j); return nil }

// PutMount adds a mount.
func (r *Run) PutMount(m *Mount) error { r.Mounts = append(r.Mounts, *m); return nil }

// PutVolumes adds a count of cartridges.
func (r *Run) PutVolumes(v *Volumes) error { r.Volumes = append(r.Volumes, *v); return nil }

// Finish sets the head.
func (r *Run) Finish(h Head, use []Use) error {
	h.Version = Version
	h.Jobs, h.Mounts, h.Media, h.Uses = int64(len(r.Jobs)), int64(len(r.Mounts)), int64(len(r.Volumes)), int64(len(use))
	r.Head, r.Use = h, use
	return nil
}

// Both gives records to several sinks.
func Both(sinks ...Sink) Sink { return both(sinks) }

type both []Sink

func (b both) each(fn func(s Sink) error) error {
	for _, s := range b {
		if err := fn(s); err != nil {
			return err
		}
	}
	return nil
}

func (b both) PutJob(j *Job) error { return b.each(func(s Sink) error { return s.PutJob(j) }) }

func (b both) PutMount(m *Mount) error { return b.each(func(s Sink) error { return s.PutMount(m) }) }

func (b both) PutVolumes(v *Volumes) error {
	return b.each(func(s Sink) error { return s.PutVolumes(v) })
}

func (b both) Finish(h Head, use []Use) error {
	return b.each(func(s Sink) error { return s.Finish(h, use) })
}

// check says what is wrong with a job's record.
func (j *Job) check() error {
	switch {
	case j.ID <= 0:
		return fmt.Errorf("a job has number %d", j.ID)
	case j.Type != job.Backup && j.Type != job.Restore && j.Type != job.Import:
		return fmt.Errorf("job %d: type %q", j.ID, j.Type)
	case j.Bytes < 0 || j.Files < 0 || j.Ended < j.Queued || j.Queued <= 0:
		return fmt.Errorf("job %d: a size is below 0, or it ended before it was queued", j.ID)
	}
	for k, d := range j.Spent {
		if known(k) < 0 || d < 0 {
			return fmt.Errorf("job %d: it spent %v on %q", j.ID, d, k)
		}
	}
	if sum := j.Spent.Total(); sum != j.Elapsed() {
		return fmt.Errorf("job %d: it lasted %v, and what it spent adds up to %v", j.ID, j.Elapsed(), sum)
	}
	return nil
}

// MarshalJSON writes the kinds that have time.
func (s Spent) MarshalJSON() ([]byte, error) {
	out := map[Kind]time.Duration{}
	for k, d := range s {
		if d != 0 {
			out[k] = d
		}
	}
	return json.Marshal(out)
}
