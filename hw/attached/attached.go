// Package attached finds the tape drives and the robots that are attached to this
// host, and tells which drive stands at which element of which robot.
//
// A device is known by its serial number (VPD page 80h): the numbers of /dev/sg* and
// /dev/nst* change with the order in which the kernel finds devices. The kernel keeps
// the page in sysfs, so that a device is found without a command to any other.
package attached

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"capstan/core/dev"
	"capstan/core/scsi"
	lu "capstan/hw/scsi"
)

// Host is where devices are looked for.
type Host struct {
	// Class is the directory of generic devices in sysfs, Dev that of device files.
	Class, Dev string
	// Open opens a generic device.
	Open func(path string) (scsi.Transport, error)
}

// Here is this host.
func Here() *Host {
	return &Host{Class: "/sys/class/scsi_generic", Dev: "/dev", Open: func(path string) (scsi.Transport, error) {
		t, err := lu.OpenSG(path)
		if err != nil {
			return nil, err // and not a transport that is nil
		}
		return t, nil
	}}
}

// Device is a drive or a robot.
type Device struct {
	Path string // of the generic device: /dev/sg3
	Tape string // of the kernel's tape driver, without rewinding: /dev/nst0; "" if it has none
	Type scsi.DeviceType
	lu.Inquiry
	Serial      string
	Identifiers []lu.Identifier
	// Err is why no more is known of it.
	Err error
}

// entry is a generic device as sysfs shows it.
type entry struct {
	path, tape, serial string
	kind               scsi.DeviceType // NoDevice if sysfs does not tell
}

// entries are the generic devices that are tape drives or robots, or may be, in the
// order of their numbers.
func (h *Host) entries() ([]entry, error) {
	names, err := h.names()
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, name := range names {
		e := entry{path: filepath.Join(h.Dev, name), kind: scsi.NoDevice}
		dir := filepath.Join(h.Class, name, "device")
		if b, err := os.ReadFile(filepath.Join(dir, "type")); err == nil {
			n, err := strconv.Atoi(strings.TrimSpace(string(b)))
			if err != nil || scsi.DeviceType(n) != scsi.Sequential && scsi.DeviceType(n) != scsi.Changer {
				continue // a disk, an enclosure
			}
			e.kind = scsi.DeviceType(n)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "vpd_pg80")); err == nil && len(b) > pageHeader {
			e.serial = strings.Trim(string(b[pageHeader:]), " \x00")
		}
		if tapes, err := filepath.Glob(filepath.Join(dir, "scsi_tape", "nst*")); err == nil {
			// nst0 and, for other modes of the driver, nst0a, nst0l, nst0m
			slices.SortFunc(tapes, func(a, b string) int { return len(a) - len(b) })
			if len(tapes) > 0 {
				e.tape = filepath.Join(h.Dev, filepath.Base(tapes[0]))
			}
		}
		all = append(all, e)
	}
	return all, nil
}

const pageHeader = 4 // of vital product data

// names are those of the generic devices: of sysfs, or of the device files where that
// is not there.
func (h *Host) names() ([]string, error) {
	var names []string
	es, err := os.ReadDir(h.Class)
	for _, e := range es {
		names = append(names, e.Name())
	}
	if errors.Is(err, fs.ErrNotExist) {
		var paths []string
		if paths, err = filepath.Glob(filepath.Join(h.Dev, "sg[0-9]*")); err == nil {
			for _, p := range paths {
				names = append(names, filepath.Base(p))
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("looking for SCSI devices: %w", err)
	}
	slices.SortFunc(names, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return names, nil
}

// Scan asks every tape drive and robot of the host what it is. A device that does not
// answer is listed with the reason.
func (h *Host) Scan(ctx context.Context) ([]Device, error) {
	es, err := h.entries()
	if err != nil {
		return nil, err
	}
	var all []Device
	for _, e := range es {
		d := Device{Path: e.path, Tape: e.tape, Type: e.kind, Serial: e.serial}
		d.Err = h.ask(ctx, &d)
		if d.Type == scsi.Sequential || d.Type == scsi.Changer {
			all = append(all, d)
		}
	}
	return all, nil
}

// ask fills in what a device says of itself.
func (h *Host) ask(ctx context.Context, d *Device) error {
	t, err := h.Open(d.Path)
	if err != nil {
		return err
	}
	u := lu.NewDevice(d.Path, t)
	defer u.Close()
	if d.Inquiry, err = u.Inquiry(ctx); err != nil {
		return err
	}
	d.Type = d.Inquiry.Type
	if s, err := u.Serial(ctx); err == nil {
		d.Serial = s
	} else if !errors.Is(err, dev.ErrNotSupported) {
		return err
	}
	ids, err := u.Identifiers(ctx)
	if err == nil {
		d.Identifiers = ids
	}
	return nil
}

// At is the device of a path, which may be a link such as udev makes.
func (h *Host) At(path string) (Device, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	es, err := h.entries()
	if err != nil {
		return Device{}, err
	}
	for _, e := range es {
		if e.path == path {
			return Device{Path: e.path, Tape: e.tape, Type: e.kind, Serial: e.serial}, nil
		}
	}
	return Device{}, fmt.Errorf("%w: %s is no tape drive or robot of this host: see \"capstan devices\"", dev.ErrGone, path)
}

// Find is the device of a serial number. Two paths to one device are one: the first.
func (h *Host) Find(ctx context.Context, serial string) (Device, error) {
	es, err := h.entries()
	if err != nil {
		return Device{}, err
	}
	var mute []string
	for _, e := range es {
		if e.serial == "" { // of a device that the kernel has not asked
			d := Device{Path: e.path}
			if err := h.ask(ctx, &d); err != nil {
				mute = append(mute, fmt.Sprintf("%s: %v", e.path, err))
				continue
			}
			e.serial, e.kind = d.Serial, d.Type
		}
		if e.serial == serial {
			return Device{Path: e.path, Tape: e.tape, Type: e.kind, Serial: serial}, nil
		}
	}
	err = fmt.Errorf("no tape drive or robot with serial number %s is attached: look at power and cables, and at \"capstan devices\"", serial)
	if len(mute) > 0 {
		err = fmt.Errorf("%w; not answering: %s", err, strings.Join(mute, "; "))
	}
	return Device{}, fmt.Errorf("%w: %w", dev.ErrGone, err)
}
