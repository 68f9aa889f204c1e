package guest

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/u-root/iscsinl"
)

// Login logs the guest's kernel in to a target on the loopback interface and waits
// for its devices. The session lives until logout.
func Login(addr, target string, drives int) (found Devices, logout func() error, err error) {
	if err := waitFor(20*time.Second, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	}); err != nil {
		return found, nil, fmt.Errorf("the target at %s: %w", addr, err)
	}
	log.SetOutput(io.Discard) // iscsinl's own account
	nl, err := iscsinl.ConnectNetlink()
	if err != nil {
		return found, nil, err
	}
	s := iscsinl.NewSession(nl, iscsinl.WithInitiator("iqn.2026-01.example:guest"), iscsinl.WithTarget(addr, target), iscsinl.WithDigests("None"))
	for _, step := range []struct {
		what string
		do   func() error
	}{{"connect", s.Connect}, {"login", s.Login}, {"parameters", s.SetParams}, {"start", s.Start}} {
		if err := step.do(); err != nil {
			return found, nil, fmt.Errorf("iSCSI %s: %w", step.what, err)
		}
	}
	hosts, err := filepath.Glob("/sys/class/scsi_host/host*/scan")
	if err != nil {
		return found, nil, err
	}
	for _, h := range hosts {
		if err := os.WriteFile(h, []byte("- - -"), 0); err != nil {
			return found, nil, err
		}
	}
	err = waitFor(20*time.Second, func() bool {
		found = FindDevices()
		return found.Changer != "" && len(found.Drives) == drives
	})
	if err != nil {
		return found, nil, fmt.Errorf("devices: found %+v: %w", found, err)
	}
	return found, s.TearDown, nil
}

func waitFor(limit time.Duration, done func() bool) error {
	for end := time.Now().Add(limit); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("not there after %v", limit)
		}
	}
	return nil
}

// Devices are the device files of a library.
type Devices struct {
	Changer string // "/dev/sg0"
	Drives  []DriveFiles
}

// DriveFiles are those of one drive, in the order of their logical units.
type DriveFiles struct {
	SG, ST string // "/dev/sg1", "/dev/nst0"
	lun    int
}

// The kernel's names for device types (SPC-5).
const (
	typeTape    = "1"
	typeChanger = "8"
)

// FindDevices reads what the kernel found from /sys.
func FindDevices() Devices {
	var d Devices
	all, _ := filepath.Glob("/sys/class/scsi_generic/sg*") // a constant pattern
	for _, s := range all {
		kind, err := os.ReadFile(filepath.Join(s, "device", "type"))
		if err != nil {
			continue // it has just gone
		}
		at, err := filepath.EvalSymlinks(filepath.Join(s, "device"))
		if err != nil {
			continue
		}
		node := "/dev/" + filepath.Base(s)
		switch strings.TrimSpace(string(kind)) {
		case typeChanger:
			d.Changer = node
		case typeTape:
			lun, _ := strconv.Atoi(at[strings.LastIndexByte(at, ':')+1:]) // H:C:T:L
			st, _ := filepath.Glob(filepath.Join(at, "scsi_tape", "nst?"))
			if len(st) == 1 {
				d.Drives = append(d.Drives, DriveFiles{node, "/dev/" + filepath.Base(st[0]), lun})
			}
		}
	}
	slices.SortFunc(d.Drives, func(a, b DriveFiles) int { return a.lun - b.lun })
	return d
}
