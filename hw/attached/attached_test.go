package attached_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/hw/attached"
	"capstan/hw/clock"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

// bench is a host with a virtual library of two drives, a disk and a device that
// does not answer.
type bench struct {
	host    *attached.Host
	lib     *vtl.Library
	opened  []string
	devices map[string]scsi.Transport // by name: sg2
}

// put makes a generic device, as sysfs shows it.
func (b *bench) put(t *testing.T, name, kind, serial, tape string, unit scsi.Transport) {
	t.Helper()
	dir := filepath.Join(b.host.Class, name, "device")
	write := func(file, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("type", kind+"\n")
	if serial != "" {
		write("vpd_pg80", "\x01\x80\x00"+string(rune(len(serial)))+serial)
	}
	if tape != "" {
		for _, mode := range []string{"a", "l", "m", ""} {
			write("scsi_tape/"+tape+mode+"/dev", "9:0")
		}
	}
	b.devices[name] = unit
}

func newBench(ctx context.Context, t *testing.T) *bench {
	t.Helper()
	b := &bench{devices: map[string]scsi.Transport{}}
	dir := t.TempDir()
	b.host = &attached.Host{Class: filepath.Join(dir, "class"), Dev: "/dev", Open: func(path string) (scsi.Transport, error) {
		b.opened = append(b.opened, path)
		if u := b.devices[filepath.Base(path)]; u != nil {
			return u, nil
		}
		return nil, fmt.Errorf("opening %s: %w", path, os.ErrPermission)
	}}
	lib, err := vtl.New(ctx, vtl.Demo("robot", 64<<20, 0), vtl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.lib = lib
	n := target.New(ctx, lib, target.Options{}).Nexus("host")
	b.put(t, "sg0", "0", "DISK", "", nil)
	b.put(t, "sg1", "1", "VTLrobot002", "nst0", n.LUN(2))
	b.put(t, "sg2", "8", "", "", n.LUN(0))
	b.put(t, "sg10", "1", "VTLrobot001", "", n.LUN(1))
	b.put(t, "sg11", "1", "", "", nil)
	return b
}

func TestLook(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	b := newBench(ctx, t)
	robot, err := b.lib.Changer(ctx, "robot")
	if err != nil {
		t.Fatal(err)
	}
	es, err := robot.Inventory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var drives []dev.Element
	slot := 0
	for _, e := range es {
		if e.Kind == dev.DriveElement {
			drives = append(drives, e)
		}
		if e.Barcode == "CAP002L9" {
			slot = e.Address
		}
	}
	if err := robot.Move(ctx, slot, drives[1].Address); err != nil {
		t.Fatal(err)
	}
	found, err := b.host.Look(ctx)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		Path, Tape, Serial, Loaded string
		Element                    int
		Problems                   int
	}
	var got []row
	for _, f := range found {
		got = append(got, row{f.Path, f.Tape, f.Serial, f.Loaded, f.Element, len(f.Problems)})
		if f.Err == nil && f.Library != found[1].Serial {
			t.Errorf("%s is in library %q, the robot's serial number is %q", f.Path, f.Library, found[1].Serial)
		}
	}
	want := []row{
		{"/dev/sg1", "/dev/nst0", "VTLrobot002", "CAP002L9", drives[1].Address, 0},
		{"/dev/sg2", "", found[1].Serial, "", 0, 0},
		{"/dev/sg10", "", "VTLrobot001", "", drives[0].Address, 1}, // no tape driver
		{"/dev/sg11", "", "", "", 0, 1},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("devices (-want +got):\n%s", d)
	}
	if found[1].Serial == "" || len(found[1].Elements) != len(es) {
		t.Errorf("the robot: serial %q, %d elements of %d", found[1].Serial, len(found[1].Elements), len(es))
	}
}

// TestFind: a device is found by its number whatever its file is called, and without a
// command to those whose number the kernel knows.
func TestFind(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	b := newBench(ctx, t)
	d, err := b.host.Find(ctx, "VTLrobot002")
	if err != nil || d.Path != "/dev/sg1" || d.Tape != "/dev/nst0" || d.Type != scsi.Sequential || len(b.opened) != 0 {
		t.Errorf("%+v, %v, opened %v", d, err, b.opened)
	}
	d, err = b.host.Find(ctx, "VTLrobot001")
	if err != nil || d.Path != "/dev/sg10" || strings.Join(b.opened, " ") != "/dev/sg2" {
		t.Errorf("%+v, %v, opened %v", d, err, b.opened)
	}
	if _, err := b.host.Find(ctx, "elsewhere"); !errors.Is(err, dev.ErrGone) || !strings.Contains(err.Error(), "/dev/sg11") {
		t.Errorf("a device that is not there: %v", err)
	}
	if d, err := b.host.At("/dev/sg1"); err != nil || d.Tape != "/dev/nst0" {
		t.Errorf("by its path: %+v, %v", d, err)
	}
	if _, err := b.host.At("/dev/sg0"); !errors.Is(err, dev.ErrGone) {
		t.Errorf("a disk: %v", err)
	}
}

// TestNoDevices: a host without SCSI has none, and that is no error.
func TestNoDevices(t *testing.T) {
	h := &attached.Host{Class: filepath.Join(t.TempDir(), "none"), Dev: t.TempDir(), Open: func(string) (scsi.Transport, error) { return nil, os.ErrNotExist }}
	if found, err := h.Look(clock.Context(t.Context(), "test")); err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
}

// TestZeros: a robot that leaves out the zeros before a serial number still names the drive.
func TestZeros(t *testing.T) {
	d := attached.Device{Serial: "0010WT01"}
	for id, want := range map[string]bool{"10WT01": true, "0010WT01": true, "10WT02": false, "": false} {
		if d.Is(id) != want {
			t.Errorf("%q: %v; want %v", id, !want, want)
		}
	}
}
