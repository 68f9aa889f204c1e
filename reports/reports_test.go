package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/status"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

var night = time.Date(2026, 11, 23, 21, 0, 0, 0, time.UTC)

func golden(t *testing.T, name string, write func(w io.Writer) error) {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// both writes the rows as a table and as JSON.
func both[T any](t *testing.T, name string, rows []T, write func(io.Writer, []T, Options) error, o Options) {
	t.Helper()
	golden(t, name+".txt", func(w io.Writer) error { return write(w, rows, o) })
	o.JSON = true
	golden(t, name+".json", func(w io.Writer) error { return write(w, rows, o) })
}

func jobs() []Job {
	return []Job{
		{ID: 1, Type: "backup", State: "completed", Policy: "all-to-tape", Schedule: "nightly-full", Client: "files1", Storage: "tape1", Try: 1,
			Bytes: 180 << 30, Files: 350_000, Queued: night, Started: night.Add(2 * time.Second), Ended: night.Add(26*time.Minute + 42*time.Second)},
		{ID: 2, Type: "backup", State: "completed", Status: status.Partial, Policy: "all-to-tape", Schedule: "nightly-full", Client: "web1", Storage: "tape1",
			Try: 1, Bytes: 60 << 30, Files: 119_998, Queued: night, Started: night.Add(time.Minute), Ended: night.Add(10 * time.Minute)},
		{ID: 3, Type: "backup", State: "completed", Status: status.MediaWrite, Policy: "all-to-tape", Schedule: "nightly-full", Client: "db1", Storage: "tape1",
			Try: 2, Bytes: 1 << 20, Files: 1, Queued: night, Started: night.Add(time.Hour), Ended: night.Add(time.Hour + 1500*time.Millisecond), Detail: "drive1: medium error"},
		{ID: 4, Type: "backup", State: "active", Policy: "files-to-disk", Schedule: "nightly", Client: "files1", Storage: "disk1", Try: 1,
			Bytes: 5e9, Files: 1234, Queued: night, Started: night.Add(10 * time.Hour)},
		{ID: 5, Type: "restore", State: "queued", Client: "web1", Queued: night.Add(13 * time.Hour), Detail: "waits for a drive"},
	}
}

func TestJobs(t *testing.T) {
	now := night.Add(10*time.Hour + 90*time.Second)
	both(t, "jobs", jobs(), WriteJobs, Options{Now: now})
	golden(t, "jobs-color.txt", func(w io.Writer) error { return WriteJobs(w, jobs(), Options{Now: now, Color: true}) })
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "jobs-berlin.txt", func(w io.Writer) error { return WriteJobs(w, jobs()[:1], Options{Location: berlin}) })
	both(t, "none", nil, WriteJobs, Options{})
}

func TestSummary(t *testing.T) {
	s := Summarize(jobs())
	want := Summary{Jobs: 5, Queued: 1, Active: 1, Succeeded: 1, Partial: 1, Failed: 1, Bytes: 240 << 30, Files: 469_998}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.Virtual, s.Real = Seconds(15*time.Hour), Seconds(850*time.Millisecond)
	golden(t, "summary.txt", func(w io.Writer) error { return WriteSummary(w, s, Options{}) })
	golden(t, "summary.json", func(w io.Writer) error { return WriteSummary(w, s, Options{JSON: true}) })
}

func TestDrivesAndMedia(t *testing.T) {
	both(t, "drives", []Drive{
		{Name: "drive1", Host: "media1", Library: "vtl1", Model: "LTO-8", State: "up", Media: "CAP001", Job: 3, Mounts: 2,
			Written: 900 << 30, Read: 60 << 30, Busy: Seconds(3 * time.Hour), Moving: Seconds(time.Hour), Span: Seconds(15 * time.Hour)},
		{Name: "drive2", Host: "media1", Library: "vtl1", Model: "LTO-8", State: "down", Span: Seconds(15 * time.Hour)},
	}, WriteDrives, Options{})
	both(t, "media", []Media{
		{ID: "CAP001", Barcode: "CAP001L8", Density: "LTO-8", Pool: "Default", State: "active", Library: "vtl1", Slot: 1, Images: 3,
			Written: 3e12, Capacity: 12e12, Mounts: 7, Assigned: night, LastWrite: night.Add(time.Hour), Expires: night.AddDate(0, 0, 28)},
		{ID: "CAP002", Density: "LTO-8", Pool: "Scratch", State: "frozen"},
	}, WriteMedia, Options{})
}

func TestImagesAndFiles(t *testing.T) {
	both(t, "images", []Image{
		{BackupID: "web1_1795468800", Client: "web1", Policy: "all-to-tape", Schedule: "nightly-full", Type: "full", Time: night,
			Expires: night.AddDate(0, 0, 28), Bytes: 60 << 30, Files: 120_000, Copies: 1, Fragments: 2, Where: []string{"CAP001", "CAP002"}},
	}, WriteImages, Options{})
	both(t, "versions", []Version{
		{Path: "/home/a", Mode: 0o100640, Size: 1234, MTime: night, Images: []string{"web1_1795468800", "web1_1795555200"}, First: night.AddDate(0, 0, 1), Last: night.AddDate(0, 0, 2)},
		{Path: "/home/a", Gone: true, Images: []string{"web1_1795641600"}, First: night.AddDate(0, 0, 3), Last: night.AddDate(0, 0, 3)},
	}, WriteVersions, Options{})
	both(t, "files", []File{
		{Path: "/home", Mode: 0o040755, Links: 3, Owner: "root", Group: "root", Size: 4096, MTime: night},
		{Path: "/home/a file", Mode: 0o100640, Links: 1, Owner: "anna", Group: "users", Size: 123_456_789, MTime: night},
		{Path: "/home/bad\x1b[31m\nname\xff", Mode: 0o104755, Owner: "1000", Group: "1000", Size: 0, MTime: night},
		{Path: "/home/link", Mode: 0o120777, Owner: "root", Group: "root", Size: 5, MTime: night, Link: "a file"},
		{Path: "/dev/null", Mode: 0o020666, Owner: "root", Group: "root", Major: 1, Minor: 3, MTime: night},
	}, WriteFiles, Options{})
}

// A list that comes in parts is the list that comes at once.
func TestFilesInParts(t *testing.T) {
	rows := []File{
		{Path: "/a", Mode: 0o100644, Owner: "1000", Group: "1000", Size: 123_456, MTime: night},
		{Path: "/b", Mode: 0o100644, Owner: "0", Group: "0", Size: 1, MTime: night},
		{Path: "/c<&>", Mode: 0o100644, Owner: "0", Group: "0", Size: 12, MTime: night},
	}
	for name, o := range map[string]Options{"text": {}, "json": {JSON: true}} {
		var parts, whole, rest bytes.Buffer
		w := NewFileWriter(&parts, o)
		for _, err := range []error{w.Write(rows[:1]), w.Write(nil), w.Write(rows[1:]), w.Close(), WriteFiles(&whole, rows, o)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(whole.String(), parts.String()); diff != "" {
			t.Errorf("%s (-whole +parts):\n%s", name, diff)
		}
		if o.JSON {
			if err := writeJSON(&rest, rows); err != nil || rest.String() != whole.String() {
				t.Errorf("not as other reports: %v\n%s\n%s", err, rest.String(), whole.String())
			}
		}
	}
}

func TestTrace(t *testing.T) {
	both(t, "trace", []Step{
		{Step: "B1", Role: "nbpem", Host: "master", Begin: night, End: night.Add(350 * time.Microsecond), What: "JobStart", To: "master/nbjm"},
		{Step: "B10", Role: "ltid", Host: "media1", Begin: night.Add(time.Second), End: night.Add(43 * time.Second), What: "mount", Detail: "CAP001 in drive1"},
		{Role: "bptm", Host: "media1", Begin: night.Add(time.Minute), End: night.Add(time.Minute), What: "write", Try: 1, Status: status.MediaWrite, Detail: "medium error"},
	}, WriteTrace, Options{})
}

func TestStudies(t *testing.T) {
	blocks := []Block{
		{Name: "backups inside their window", Rows: []BlockRow{
			{Values: []string{"1", "6h"}, Mean: "93.2 %", Interval: "86.8 to 99.6 %"},
			{Values: []string{"2", "6h"}, Mean: "100.0 %", Interval: "100.0 to 100.0 %", Difference: "+6.8 points", Within: "0.4 to 13.2 points", Verdict: "better"},
		}},
		{Name: "mounts", Rows: []BlockRow{{Values: []string{"2", "6h"}, Mean: "42 a day", Difference: "+1 a day", Verdict: "worse"}}},
	}
	write := func(o Options) func(w io.Writer) error {
		return func(w io.Writer) error { return WriteBlocks(w, []string{"drives", "window"}, blocks, o) }
	}
	golden(t, "blocks.txt", write(Options{}))
	golden(t, "blocks-color.txt", write(Options{Color: true}))
	golden(t, "blocks.json", write(Options{JSON: true}))
	golden(t, "differences.txt", func(w io.Writer) error {
		return WriteDifferences(w, []Difference{
			{"mounts", "42 a day", "41 a day", "-1 a day", "-1.5 a day to -0.5 a day", "better"},
			{"restore p95", "5 min", "6 min", "+1 min", "", ""},
		}, Options{})
	})
	golden(t, "jobs.csv", func(w io.Writer) error { return WriteJobsCSV(w, jobs()) })
}

func TestModeString(t *testing.T) {
	for mode, want := range map[uint32]string{
		0o100644: "-rw-r--r--", 0o041777: "drwxrwxrwt", 0o104644: "-rwSr--r--", 0o102755: "-rwxr-sr-x",
		0o041770: "drwxrwx--T", 0o010600: "prw-------", 0o060660: "brw-rw----", 0o140777: "srwxrwxrwx", 0o120777: "lrwxrwxrwx",
	} {
		if got := ModeString(mode); got != want {
			t.Errorf("ModeString(%o) = %q; want %q", mode, got, want)
		}
	}
}

func TestForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "-", 350 * time.Microsecond: "350µs", 48_242: "48µs", 1_280_000: "1.3ms", 850 * time.Millisecond: "850ms", 42150 * time.Millisecond: "42.1s",
		59999 * time.Millisecond: "59.9s", 725 * time.Second: "12m05s", 3*time.Hour + 4*time.Minute + 59*time.Second: "3h04m", 51 * time.Hour: "2d03h",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%d) = %q; want %q", d, got, want)
		}
	}
	for _, c := range [][2]string{
		{Size(0), "-"}, {Size(1), "1 B"}, {Size(180 << 30), "180 GiB"}, {Count(350_000), "350,000"},
		{Rate(160e6, time.Second), "160 MB/s"}, {Rate(1, 0), "-"}, {Percent(1, 3), "33%"}, {Percent(1, 0), "-"},
	} {
		if c[0] != c[1] {
			t.Errorf("got %q; want %q", c[0], c[1])
		}
	}
}

func TestSecondsInJSON(t *testing.T) {
	b, err := json.Marshal(Seconds(1500 * time.Millisecond))
	if err != nil || string(b) != "1.5" {
		t.Errorf("%s, %v", b, err)
	}
}

// Without colours a table has none, and no line ends in a space.
func TestPlainTables(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJobs(&b, jobs(), Options{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "\x1b") || strings.Contains(b.String(), " \n") {
		t.Errorf("colour or trailing spaces:\n%q", b.String())
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteErrors(t *testing.T) {
	for name, o := range map[string]Options{"text": {}, "json": {JSON: true}} {
		if err := WriteJobs(full{}, jobs(), o); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
