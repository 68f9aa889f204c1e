package attached

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"

	"capstan/core/dev"
	"capstan/core/ltid"
	"capstan/core/scsi"
	"capstan/hw/changer"
)

// Found is a device with its place among the others.
type Found struct {
	Device
	// Library is the serial number of the robot that serves the drive, or the robot's
	// own; "" if none of the robots here knows the drive.
	Library string
	Element int    // of a drive: its address for the robot
	Loaded  string // of a drive: the barcode of what is in it, "?" if it cannot be read
	// Elements are a robot's, as it tells them.
	Elements []dev.Element
	// Problems are what an operator should look at, in words.
	Problems []string
}

// Look scans the host and asks every robot for its elements, to find each drive's place.
func (h *Host) Look(ctx context.Context) ([]Found, error) {
	devices, err := h.Scan(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Found, len(devices))
	for i, d := range devices {
		all[i].Device = d
		all[i].judge(all[:i])
	}
	for i := range all {
		if f := &all[i]; f.Type == scsi.Changer && f.Err == nil && !f.twin(all[:i]) {
			h.robot(ctx, f, all)
		}
	}
	for i := range all {
		f := &all[i]
		if f.Type == scsi.Sequential && f.Err == nil && f.Library == "" && len(f.Problems) == 0 {
			f.say("no robot here has it: a drive that stands alone, or in a library whose robot another host has, or that tells no serial numbers")
		}
	}
	return all, nil
}

func (f *Found) say(problem string) { f.Problems = append(f.Problems, problem) }

// twin tells whether a device is one that was found before by another path.
func (f *Found) twin(before []Found) bool {
	return f.Serial != "" && slices.ContainsFunc(before, func(o Found) bool { return o.Serial == f.Serial && o.Type == f.Type })
}

// judge notes what is wrong with a device by itself.
func (f *Found) judge(before []Found) {
	switch {
	case f.Err != nil:
		f.say(f.Err.Error())
	case f.Serial == "":
		f.say("it tells no serial number: name it by its path, and look after each restart whether that is still its own")
	case f.twin(before):
		f.say("the same device as one above, by another path")
	}
	if f.Type == scsi.Sequential && f.Tape == "" && f.Err == nil {
		f.say("the kernel's tape driver (module st) has not taken it: Capstan needs it only for driver: st")
	}
}

// robot asks a robot for its elements and matches the drives.
func (h *Host) robot(ctx context.Context, f *Found, all []Found) {
	f.Library = f.Serial
	t, err := h.Open(f.Path)
	if err != nil {
		f.say(err.Error())
		return
	}
	c, err := changer.Open(ctx, f.Path, t, changer.Options{})
	if err != nil {
		f.say(err.Error())
		return
	}
	defer c.Close()
	if f.Elements, err = c.Inventory(ctx); err != nil {
		f.say(err.Error())
		return
	}
	f.labels()
	named := false
	for _, e := range f.Elements {
		if e.Kind != dev.DriveElement {
			continue
		}
		named = named || e.Serial != ""
		for i := range all {
			if d := &all[i]; d.Type == scsi.Sequential && d.is(e.Serial) {
				d.Library, d.Element, d.Loaded = f.Serial, e.Address, content(e)
				if e.Problem != "" {
					d.say(e.Problem)
				}
			}
		}
	}
	if !named {
		f.say("the robot tells no serial numbers of its drives: give each drive its element in the configuration")
	}
}

func content(e dev.Element) string {
	if e.Full && e.Barcode == "" {
		return "?"
	}
	return e.Barcode
}

// labels notes cartridges that cannot be told apart.
func (f *Found) labels() {
	full, read := 0, 0
	for _, e := range f.Elements {
		if e.Full {
			full++
		}
		if e.Barcode != "" {
			read++
		}
	}
	switch {
	case full > 0 && read == 0:
		f.say("none of its cartridges has a barcode that was read: Capstan needs labels and a library that reads them")
	case read < full:
		f.say("some cartridges have no barcode that could be read: they are not used")
	}
}

// is tells whether an element's identifier is the drive's: its serial number, or one
// of its world wide names.
func (d *Device) is(id string) bool {
	if id == "" || d.Err != nil {
		return false
	}
	if ltid.SameSerial(id, d.Serial) {
		return true
	}
	for _, i := range d.Identifiers {
		if hex.EncodeToString(i.Binary) == strings.ToLower(id) {
			return true
		}
	}
	return false
}
