package vtl

import (
	"context"
	"fmt"
	"strings"

	"capstan/core/dev"
	"capstan/core/store"
)

// Config describes a library. It is plain data: YAML and JSON read it.
type Config struct {
	Name  string `json:"name"`            // of the robot
	Robot string `json:"robot,omitempty"` // a name of [RobotModels]; "" is rack
	// Arms are those of each string; 0 is 1. Strings are libraries that pass-through
	// ports join, one to the next; 0 is 1.
	Arms         int               `json:"arms,omitempty"`
	Strings      int               `json:"strings,omitempty"`
	RobotTimes   RobotTimes        `json:"robot_times,omitzero"`
	Slots        int               `json:"slots"`
	ImportExport int               `json:"import_export,omitempty"` // mail slots
	Drives       []DriveConfig     `json:"drives"`
	Cartridges   []CartridgeConfig `json:"cartridges,omitempty"`
	// TimeScale is how much faster than the real device the library is: 1 is real
	// time, 100 a hundredth of it, 0 takes no time at all.
	TimeScale int64 `json:"time_scale,omitempty"`
}

// DriveConfig describes a drive.
type DriveConfig struct {
	Name  string `json:"name"`
	Model string `json:"model"` // a name of [DriveModels]
}

// CartridgeConfig describes a cartridge at its first use. What is written on it,
// and its sidecar file, outlive the configuration.
type CartridgeConfig struct {
	Barcode string `json:"barcode"`
	// Density is one of [MediumModels]; "" takes it from the barcode's last two
	// characters (ANSI/TIA: "L9").
	Density string `json:"density,omitempty"`
	// Capacity overrides the native capacity, in bytes.
	Capacity int64 `json:"capacity,omitempty"`
	// Reserve overrides the bytes between early warning and the end.
	Reserve        int64 `json:"reserve,omitempty"`
	WriteProtected bool  `json:"write_protected,omitempty"`
	// WORM has what is written stay: it can be appended to.
	WORM bool `json:"worm,omitempty"`
	// Compression is how well its data compresses, in hundredths: 250 is 2.5:1; 0 is
	// 100, not at all.
	Compression int64 `json:"compression,omitempty"`
	// Initialized has it been loaded before it came here: LTO-9 measures new cartridges.
	Initialized bool `json:"initialized,omitempty"`
	Slot        int  `json:"slot,omitempty"` // 1 … Slots; 0 is the first free one
}

// Options are what a world gives to a library.
type Options struct {
	// Dir holds the cartridges' files and library.json; nil keeps all in memory.
	Dir store.Dir
	// Transfer waits for as long as it takes to move bytes across resources, the
	// drive's among them: the virtual world's shared flow. It is called in the
	// caller's task, for hollow data only. nil takes the slowest rate alone.
	Transfer func(ctx context.Context, via []dev.Resource, bytes int64) error
}

// Addresses of elements, as IBM's libraries number them.
const (
	RobotAddress      = 1      // the hand
	FirstDrive        = 0x0100 // drives: 256, 257, …
	FirstImportExport = 0x0300 // mail slots: 768, …
	FirstSlot         = 0x1000 // storage: slot n is at 4095+n
)

// SlotAddress is the element address of slot n, counted from 1.
func SlotAddress(n int) int { return FirstSlot + n - 1 }

// DriveAddress is the element address of the nth drive, counted from 0.
func DriveAddress(n int) int { return FirstDrive + n }

// Demo is a small library: ten slots, one mail slot, eight LTO-9 cartridges of
// capacity bytes (0 is the native 18 TB), two drives.
func Demo(name string, capacity, timeScale int64) Config {
	c := Config{
		Name: name, Robot: "rack", Slots: 10, ImportExport: 1, TimeScale: timeScale,
		Drives: []DriveConfig{{Name: name + "-d0", Model: "LTO-9"}, {Name: name + "-d1", Model: "LTO-9"}},
	}
	for i := range 8 {
		c.Cartridges = append(c.Cartridges, CartridgeConfig{
			Barcode: fmt.Sprintf("CAP%03dL9", i+1), Capacity: capacity, Slot: i + 1, Initialized: true,
		})
	}
	return c
}

func (c *Config) check() error {
	switch {
	case c.Name == "":
		return fmt.Errorf("the library has no name: set name")
	case c.Slots < 1 || c.Slots > 60000:
		return fmt.Errorf("library %s: %d slots: give 1 to 60000", c.Name, c.Slots)
	case len(c.Drives) > FirstImportExport-FirstDrive:
		return fmt.Errorf("library %s: %d drives: at most %d", c.Name, len(c.Drives), FirstImportExport-FirstDrive)
	case c.ImportExport < 0 || c.ImportExport > FirstSlot-FirstImportExport:
		return fmt.Errorf("library %s: %d mail slots: give 0 to %d", c.Name, c.ImportExport, FirstSlot-FirstImportExport)
	case c.Arms < 0 || c.Arms > 16:
		return fmt.Errorf("library %s: %d arms: give 1 to 16", c.Name, c.Arms)
	case c.Strings < 0 || c.Strings > 32 || c.Strings > c.Slots:
		return fmt.Errorf("library %s: %d strings: give 1 to 32, and no more than slots", c.Name, c.Strings)
	case c.TimeScale < 0:
		return fmt.Errorf("library %s: time scale %d: give 0 (no time), 1 (real) or how much faster", c.Name, c.TimeScale)
	}
	names := map[string]bool{c.Name: true}
	for _, d := range c.Drives {
		if d.Name == "" || names[d.Name] {
			return fmt.Errorf("library %s: drive name %q is empty or used twice", c.Name, d.Name)
		}
		names[d.Name] = true
	}
	return nil
}

func (c *CartridgeConfig) density() string {
	if c.Density != "" {
		return c.Density
	}
	if c.cleaning() {
		return MediumModels[0].Density
	}
	return densityOf(c.Barcode)
}

// cleaning tells whether it is a cleaning cartridge: its barcode begins with CLN.
func (c *CartridgeConfig) cleaning() bool { return strings.HasPrefix(c.Barcode, "CLN") }

// maxRatio is the best compression that a cartridge can have, in hundredths.
const maxRatio = 10_000

// ratioOK says whether data can compress by this, in hundredths; 0 is not at all.
func ratioOK(r int64) bool { return r == 0 || (r >= 100 && r <= maxRatio) }

// barcodeOK says whether a barcode can be a file's name: one to sixteen capital
// letters, digits, "-" and "_".
func barcodeOK(s string) bool {
	if len(s) == 0 || len(s) > 16 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
