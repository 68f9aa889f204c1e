package reports

import (
	"io"
	"testing"
	"time"
)

func TestStates(t *testing.T) {
	both(t, "drive-states", []DriveState{
		{Name: "drive1", Host: "media1", Library: "vtl1", Element: 256, State: "up", Media: "CAP001", Job: 12, LastUsed: night},
		{Name: "drive2", Host: "media1", Library: "vtl1", Element: 257, State: "down"},
	}, WriteDriveStates, Options{})
	both(t, "attached", []Attached{
		{Path: "/dev/sg3", Tape: "/dev/nst0", Kind: "drive", Vendor: "IBM", Product: "ULTRIUM-HH8", Revision: "N9M1", Serial: "10WT012345", Name: "drive1",
			Library: "00X4U78D1234LL0", Element: 256, Loaded: "CAP001L8"},
		{Path: "/dev/sg4", Kind: "changer", Vendor: "IBM", Product: "3573-TL", Revision: "F.11", Serial: "00X4U78D1234LL0", Loaded: "22 of 24 slots",
			Problems: []string{"some cartridges have no barcode that could be read: they are not used"}},
	}, WriteAttached, Options{})
	both(t, "policies", []Policy{
		{Name: "home-to-tape", Active: true, Clients: []string{"web1", "db1", "files1", "files2", "files3"}, Paths: []string{"/home"},
			Storage: "tape1", Schedules: []string{"weekly", "daily"}, Next: night},
		{Name: "old", Clients: []string{"web1"}, Paths: []string{"/srv", "/etc"}, Storage: "disk1", Schedules: []string{"manual"}},
	}, WritePolicies, Options{})
	both(t, "due", []Due{
		{Policy: "home-to-tape", Client: "web1", Schedule: "daily", At: night, Running: 12}, {Policy: "old", Client: "web1"},
	}, WriteDue, Options{})
	both(t, "log", []Line{
		{Time: night, Try: 1, Host: "master", Role: "nbjm", Text: "job 12 is active"},
		{Time: night.Add(time.Minute), Try: 2, Host: "media1", Role: "bptm", Text: "drive1: medium\x1b error"},
	}, WriteLog, Options{})
	golden(t, "fields.txt", func(w io.Writer) error {
		return WriteFields(w, []Field{{"Job", "12"}, {"Detail", ""}, {"Size", Size(0)}, {"Media server", "media1"}, {"Queued", Time(night, Options{})}}, Options{})
	})
}
