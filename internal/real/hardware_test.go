package real

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/hw/attached"
	"capstan/hw/clock"
	"capstan/scenarios"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

const hardwareHost = `domain: example
name: media1
kinds: [media]
master: {name: backup1, address: '192.0.2.10:1556'}
runDir: %s
devices:
  - {name: robot1, kind: changer, path: /dev/sg0}
  - {name: drive1, kind: drive, serial: VTLrobot002, library: robot1, keyFile: %[1]s/key}
  - {name: drive2, kind: drive, serial: VTLrobot001, library: robot1}
  - {name: drive3, kind: drive, serial: elsewhere, library: robot1}
  - {name: drive4, kind: drive, serial: VTLrobot003, library: robot1}
`

// TestHardware: configured devices are opened by their serial numbers, whatever file
// they have, and what is wrong is said by name.
func TestHardware(t *testing.T) {
	ctx := clock.Context(t.Context(), "test")
	dir := t.TempDir()
	cfg, err := scenarios.Load[scenarios.Host]("host.yaml", fmt.Appendf(nil, hardwareHost, dir))
	if err != nil {
		t.Fatal(err)
	}
	library := vtl.Demo("robot", 64<<20, 0)
	library.Drives = append(library.Drives, vtl.DriveConfig{Name: "third", Model: "LTO-9"})
	lib, err := vtl.New(ctx, library, vtl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	nexus := target.New(ctx, lib, target.Options{}).Nexus("host")
	h := newHardware(cfg, slog.New(slog.DiscardHandler))
	h.host = sysfs(t, map[string]string{"sg0": "", "sg1": "VTLrobot001", "sg2": "VTLrobot002", "sg3": "VTLrobot003"}, func(path string) (scsi.Transport, error) {
		if path == "/dev/sg3" { // the kernel remembers who was there before
			path = "/dev/sg1"
		}
		return nexus.LUN(uint64(path[len(path)-1] - '0')), nil
	})
	robot, err := h.changer(ctx, "robot1")
	if err != nil {
		t.Fatal(err)
	}
	es, err := robot.Inventory(ctx)
	if err != nil || len(es) == 0 || robot.Name() != "robot1" {
		t.Errorf("robot %s: %d elements, %v", robot.Name(), len(es), err)
	}
	for _, tt := range []struct {
		name, key string
		mode      os.FileMode
		err       string
	}{
		{"drive1", "", 0, "no such file"},
		{"drive1", strings.Repeat("ab", 32), 0o644, "chmod 600"},
		{"drive1", strings.Repeat("ab", 31), 0o600, "64 hexadecimal digits"},
		{"drive1", strings.Repeat("ab", 32) + "\n", 0o600, ""},
		{"drive2", "", 0, ""},
		{"drive3", "", 0, "serial number elsewhere"},
		{"drive4", "", 0, "VTLrobot001 now, not VTLrobot003"},
		{"robot1", "", 0, "not a drive"},
	} {
		if tt.key != "" {
			path := filepath.Join(dir, "key")
			if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, []byte(tt.key), tt.mode)); err != nil {
				t.Fatal(err)
			}
		}
		d, err := h.drive(ctx, tt.name)
		switch {
		case err == nil && tt.err == "":
			if d.Name() != tt.name {
				t.Errorf("%s is called %s", tt.name, d.Name())
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		case err == nil || tt.err == "" || !strings.Contains(err.Error(), tt.err):
			t.Errorf("%s: %v; want %q", tt.name, err, tt.err)
		}
	}
	if _, err := h.drive(ctx, "drive3"); !errors.Is(err, dev.ErrGone) {
		t.Errorf("a drive that is not attached: %v", err)
	}
}

// sysfs is a host with tape devices, as the kernel shows them, by serial number.
func sysfs(t *testing.T, serials map[string]string, open func(path string) (scsi.Transport, error)) *attached.Host {
	t.Helper()
	class := t.TempDir()
	for name, serial := range serials {
		dir := filepath.Join(class, name, "device")
		kind := "1\n"
		if serial == "" {
			kind = "8\n"
		}
		page := fmt.Sprintf("\x01\x80\x00%c%s", len(serial), serial)
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "type"), []byte(kind), 0o644),
			os.WriteFile(filepath.Join(dir, "vpd_pg80"), []byte(page), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return &attached.Host{Class: class, Dev: "/dev", Open: open}
}
