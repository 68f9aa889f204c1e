package reports

import (
	"fmt"
	"io"
)

// Mounts is what a replay of mount requests came to.
type Mounts struct {
	Dismount string      `json:"dismount"` // the policy
	Requests int64       `json:"requests"`
	Loads    int64       `json:"loads"`
	Hits     int64       `json:"hits"` // requests whose cartridge was in a drive
	Wait     MountWait   `json:"wait"` // from request to ready
	Drives   []DeviceUse `json:"drives"`
	Robot    DeviceUse   `json:"robot"`
	Span     Seconds     `json:"span"`
}

// MountWait is a distribution of waits.
type MountWait struct {
	Mean Seconds `json:"mean"`
	P50  Seconds `json:"p50"`
	P90  Seconds `json:"p90"`
	P95  Seconds `json:"p95"`
	P99  Seconds `json:"p99"`
	Max  Seconds `json:"max"`
}

// DeviceUse is how much a drive or a robot was used.
type DeviceUse struct {
	Name  string  `json:"name"`
	Loads int64   `json:"loads"`          // of a robot: moves
	Held  Seconds `json:"held,omitempty"` // by requests
	Busy  Seconds `json:"busy"`           // in motion
}

// WriteMounts writes what a replay came to, as tables.
func WriteMounts(w io.Writer, m *Mounts, o Options) error {
	t := newTable(left("DISMOUNT"), right("REQUESTS"), right("LOADS"), right("HITS"), right("MEAN WAIT"), right("P50"), right("P90"), right("P95"), right("P99"), right("MAX"))
	x := &m.Wait
	t.row(m.Dismount, Count(m.Requests), Count(m.Loads), Count(m.Hits), Duration(x.Mean.Std()), Duration(x.P50.Std()), Duration(x.P90.Std()),
		Duration(x.P95.Std()), Duration(x.P99.Std()), Duration(x.Max.Std()))
	if err := t.write(w, o.Color); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return fmt.Errorf("writing a report: %w", err)
	}
	u := newTable(left("DEVICE"), right("LOADS"), right("HELD"), right("BUSY"))
	for _, d := range m.Drives {
		u.row(d.Name, Count(d.Loads), Percent(d.Held.Std(), m.Span.Std()), Percent(d.Busy.Std(), m.Span.Std()))
	}
	u.row(m.Robot.Name+" (robot)", Count(m.Robot.Loads), "", Percent(m.Robot.Busy.Std(), m.Span.Std()))
	return u.write(w, o.Color)
}
