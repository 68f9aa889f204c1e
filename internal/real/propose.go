package real

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"capstan/core/ltid"
	"capstan/core/scsi"
	"capstan/hw/attached"
	"capstan/scenarios"
)

// Proposal is what a host's configuration should have of the devices that were found.
type Proposal struct {
	Devices []scenarios.Added
	// Units are storage units, for the master's file, one for each library.
	Units []scenarios.StorageUnit
}

// Propose names the devices that a configuration does not have yet: each robot, and
// each drive that one of the robots serves.
func Propose(cfg *scenarios.Host, found []attached.Found) Proposal {
	var p Proposal
	taken := map[string]bool{}
	known := map[string]string{} // names of what is configured, by serial number
	for _, d := range cfg.Devices {
		taken[d.Name] = true
		known[d.Serial] = d.Name
	}
	for _, l := range cfg.Libraries {
		taken[l.Name] = true
		for _, d := range l.Drives {
			taken[d.Name] = true
		}
	}
	add := func(f *attached.Found, kind, prefix, library string) string {
		if name := known[f.Serial]; name != "" {
			return name
		}
		name := free(taken, prefix)
		known[f.Serial] = name
		comment := fmt.Sprintf("%s %s, %s when it was found", f.Vendor, f.Product, f.Path)
		p.Devices = append(p.Devices, scenarios.Added{
			Device: scenarios.Device{Name: name, Kind: kind, Serial: f.Serial, Library: library}, Comment: comment,
		})
		return name
	}
	for i := range found {
		robot := &found[i]
		if robot.Type != scsi.Changer || robot.Err != nil || robot.Serial == "" || robot.Elements == nil {
			continue
		}
		library := add(robot, "changer", "robot", "")
		drives := 0
		for j := range found {
			if f := &found[j]; f.Type == scsi.Sequential && f.Library == robot.Serial && f.Serial != "" {
				add(f, "drive", "drive", library)
				drives++
			}
		}
		if drives > 0 {
			p.Units = append(p.Units, scenarios.StorageUnit{
				Name: library + "-tape", Kind: "tape", MediaServer: cfg.Name, Library: library, Density: density(robot),
			})
		}
	}
	return p
}

// free is the first name of a row that is not taken, which it then is.
func free(taken map[string]bool, prefix string) string {
	for n := 1; ; n++ {
		if name := fmt.Sprintf("%s%d", prefix, n); !taken[name] {
			taken[name] = true
			return name
		}
	}
}

// density is that of most cartridges in a library, by their barcodes.
func density(robot *attached.Found) string {
	count := map[string]int{}
	for _, e := range robot.Elements {
		if d := ltid.Density(e.Barcode); d != "" && !ltid.Cleaning(e.Barcode) {
			count[d]++
		}
	}
	if len(count) == 0 {
		return ""
	}
	return slices.MaxFunc(slices.Sorted(maps.Keys(count)), func(a, b string) int { return cmp.Compare(count[a], count[b]) })
}
