// Package convert makes what the roles and the virtual library take of what
// people write in configuration and scenario files. Both worlds are put together
// with it, so that one file means the same in either.
package convert

import (
	"cmp"
	"math"
	"time"

	"capstan/core/ltid"
	"capstan/core/nbemm"
	"capstan/core/policy"
	"capstan/scenarios"
	"capstan/vtl"
)

// manual is the schedule of a policy that has none in its file: backups by hand
// need one too, and without windows it is never due.
const manual = "manual"

// Policy makes a policy of its file's form. Its clients are taken as they are
// written: a scenario's patterns are spelt out by [scenarios.Scenario.ClientsOf].
func Policy(p *scenarios.Policy) policy.Policy {
	out := policy.Policy{
		Name: p.Name, Active: p.Active, Clients: p.Clients, Paths: p.Paths, Exclude: p.Exclude,
		Storage: p.Storage, Pool: p.Pool, Priority: p.Priority, Retention: p.Retention.Std(), Zone: p.Timezone,
		Limits: policy.Limits{JobsPerPolicy: p.Limits.JobsPerPolicy, JobsPerClient: p.Limits.JobsPerClient},
	}
	for i := range p.Schedules {
		out.Schedules = append(out.Schedules, schedule(&p.Schedules[i]))
	}
	if len(out.Schedules) == 0 {
		out.Schedules = []policy.Schedule{{Name: manual, Type: policy.Full}}
	}
	return out
}

func schedule(s *scenarios.Schedule) policy.Schedule {
	out := policy.Schedule{Name: s.Name, Type: policy.Full, Frequency: s.Frequency.Std(), Retention: s.Retention.Std()}
	if s.Type == "differential" {
		out.Type = policy.Differential
	}
	for _, w := range s.Windows {
		out.Windows = append(out.Windows, policy.Window{Days: days(w.Days), Start: time.Duration(w.Start) * time.Minute, Length: w.Length.Std()})
	}
	return out
}

// days lists a set of weekdays; every day is none.
func days(set scenarios.Days) []time.Weekday {
	var all []time.Weekday
	for d := time.Sunday; d <= time.Saturday; d++ {
		if set.Has(d) {
			all = append(all, d)
		}
	}
	if len(all) == 7 {
		return nil
	}
	return all
}

// The largest fragments, where a storage unit sets none.
const (
	tapeFragment = 1 << 40
	diskFragment = 512 << 30
)

// Unit makes a storage unit of its file's form.
func Unit(u *scenarios.StorageUnit) nbemm.StorageUnit {
	out := nbemm.StorageUnit{
		Name: u.Name, Kind: nbemm.Kind(u.Kind), MediaServer: u.MediaServer, Path: u.Path, Library: u.Library, Density: u.Density,
		MaxJobs: u.MaxJobs, BlockSize: int(u.BlockSize), FragmentSize: int64(u.FragmentSize), Pool: u.Pool,
	}
	largest := int64(diskFragment)
	if out.Kind == nbemm.Tape {
		largest = tapeFragment
		// A job has one drive: no more drives at once is no more jobs at once.
		if u.MaxDrives > 0 && (out.MaxJobs == 0 || u.MaxDrives < out.MaxJobs) {
			out.MaxJobs = u.MaxDrives
		}
	}
	if out.FragmentSize == 0 || out.FragmentSize > largest {
		out.FragmentSize = largest
	}
	return out
}

// Group makes a group of storage units of its file's form. Priority and failover
// both take the first unit in the list that can be had.
func Group(g *scenarios.Group) nbemm.Group {
	return nbemm.Group{Name: g.Name, RoundRobin: g.Choice == "round-robin", Units: g.Units}
}

// Library makes the configuration of a virtual library of its file's form.
func Library(l *scenarios.Library) vtl.Config {
	r, k := &l.Robot, &l.Cartridges
	out := vtl.Config{
		Name: l.Name, Robot: r.Model, Arms: r.Arms, Strings: r.Strings,
		RobotTimes: vtl.RobotTimes{
			Pick: r.Pick.Std(), Put: r.Put.Std(), Overhead: r.Overhead.Std(), Aside: r.Aside.Std(),
			PassThrough: r.PassThrough.Std(), Audit: r.Audit.Std(), MailSlot: r.MailSlot.Std(),
		},
		Slots: l.Slots, ImportExport: l.MailSlots, TimeScale: int64(l.Timing),
	}
	for _, d := range l.Drives {
		out.Drives = append(out.Drives, vtl.DriveConfig{Name: d.Name, Model: d.Model})
	}
	for i, barcode := range k.Barcodes() {
		out.Cartridges = append(out.Cartridges, vtl.CartridgeConfig{
			Barcode: barcode, Density: k.Density, Capacity: int64(k.Capacity), Slot: i + 1,
			Compression: int64(math.Round(k.Compression * 100)), Initialized: k.Initialized,
		})
	}
	for i, barcode := range k.CleaningBarcodes() {
		out.Cartridges = append(out.Cartridges, vtl.CartridgeConfig{Barcode: barcode, Slot: k.Count + i + 1})
	}
	return out
}

// DriveNames are the names of a library's drives, in the order of their elements.
func DriveNames(l *scenarios.Library) []string {
	names := make([]string, len(l.Drives))
	for i, d := range l.Drives {
		names[i] = d.Name
	}
	return names
}

// Hardware are the libraries of real hardware of a host, each with its drives.
func Hardware(c *scenarios.Host) []ltid.Library {
	var all []ltid.Library
	for i := range c.Devices {
		robot := &c.Devices[i]
		if robot.Kind != "changer" {
			continue
		}
		l := ltid.Library{Name: robot.Name, Control: cmp.Or(robot.Control, c.Name), Places: map[string]ltid.Place{}, Dismount: robot.Dismount}
		for j := range c.Devices {
			if d := &c.Devices[j]; d.Kind == "drive" && d.Library == robot.Name {
				l.Drives = append(l.Drives, d.Name)
				l.Places[d.Name] = ltid.Place{Serial: d.Serial, Element: d.Element}
			}
		}
		all = append(all, l)
	}
	return all
}
