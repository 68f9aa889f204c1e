package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/scsi"
	"capstan/hw/attached"
	"capstan/hw/clock"
	lu "capstan/hw/scsi"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

// TestDevices: what is attached is listed, and written into a host's file once.
func TestDevices(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	lib, err := vtl.New(ctx, vtl.Demo("robot", 64<<20, 0), vtl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	nexus := target.New(ctx, lib, target.Options{}).Nexus("host")
	dir := t.TempDir()
	for _, name := range []string{"sg0", "sg1", "sg2"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host := &attached.Host{Class: filepath.Join(dir, "no sysfs"), Dev: dir, Open: func(path string) (scsi.Transport, error) {
		return nexus.LUN(uint64(path[len(path)-1] - '0')), nil
	}}
	file := filepath.Join(dir, "host.yaml")
	const before = "# the media server\ndomain: example\nname: media1\nkinds: [media]\nmaster: {name: backup1, address: '192.0.2.10:1556'}\n"
	if err := os.WriteFile(filepath.Join(dir, "media1.yaml"), []byte(before), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("media1.yaml", file); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (out, errs string) {
		t.Helper()
		var o, e bytes.Buffer
		cmd := newDevicesCommand(host)
		cmd.Flags().String("config", file, "")
		cmd.SetArgs(args)
		cmd.SetOut(&o)
		cmd.SetErr(&e)
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(o.String(), dir, "/dev"), strings.ReplaceAll(e.String(), dir, "/dev")
	}
	out, errs := run("--write", file)
	for _, want := range []string{"/dev/sg1  -     drive", "VTLrobot001", "8 of "} {
		if !strings.Contains(out, want) {
			t.Errorf("the table lacks %q:\n%s", want, out)
		}
	}
	for _, want := range []string{"3 devices were added", "library: robot1", "density: LTO-9"} {
		if !strings.Contains(errs, want) {
			t.Errorf("it said, without %q:\n%s", want, errs)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	unit := func(lun uint64) (maker, serial string) {
		u := lu.NewDevice("unit", nexus.LUN(lun))
		q, err := u.Inquiry(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if serial, err = u.Serial(ctx); err != nil {
			t.Fatal(err)
		}
		return q.Vendor + " " + q.Product, serial
	}
	robot, serial := unit(0)
	drive, _ := unit(1)
	want := before + `
devices:
  # ` + robot + `, /dev/sg0 when it was found
  - name: robot1
    kind: changer
    serial: "` + serial + `"
  # ` + drive + `, /dev/sg1 when it was found
  - name: drive1
    kind: drive
    serial: "VTLrobot001"
    library: robot1
  # ` + drive + `, /dev/sg2 when it was found
  - name: drive2
    kind: drive
    serial: "VTLrobot002"
    library: robot1
`
	if d := cmp.Diff(want, strings.ReplaceAll(string(text), dir, "/dev")); d != "" {
		t.Errorf("the file (-want +got):\n%s", d)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file has mode %v, where it had 0640: %v", info.Mode(), err)
	}
	if to, err := os.Readlink(file); err != nil || to != "media1.yaml" {
		t.Errorf("it was a link, and is none any more: %q, %v", to, err)
	}
	if begun, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(begun) > 0 {
		t.Errorf("beside it stays %q: %v", begun, err)
	}
	if out, errs := run("--write", file); !strings.Contains(errs, "has all of them already") || !strings.Contains(out, "drive2") {
		t.Errorf("the second time:\n%s\n%s", out, errs)
	}
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, text) {
		t.Errorf("the second time the file changed: %v\n%s", err, again)
	}
	if out, _ := run("--json"); !strings.Contains(out, `"name": "drive1"`) || !strings.Contains(out, `"library": "`+serial+`"`) {
		t.Errorf("as JSON:\n%s", out)
	}
}
