package real

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/core/status"
	"capstan/hw/attached"
	"capstan/hw/changer"
	lu "capstan/hw/scsi"
	"capstan/hw/tape"
	"capstan/scenarios"
)

// hardware are a host's tape drives and robots. Each is found by its serial number
// when it is opened, as its file may have another name after every start of the host.
type hardware struct {
	devices map[string]*scenarios.Device // by name
	host    *attached.Host
	lockDir string
	log     *slog.Logger
}

func newHardware(c *scenarios.Host, log *slog.Logger) *hardware {
	h := &hardware{
		devices: map[string]*scenarios.Device{}, host: attached.Here(), log: log,
		lockDir: filepath.Join(c.RunDir, "t"),
	}
	for i := range c.Devices {
		h.devices[c.Devices[i].Name] = &c.Devices[i]
	}
	return h
}

// has tells whether a device of hardware is configured under a name.
func (h *hardware) has(name string) bool { return h.devices[name] != nil }

// drive opens a drive.
func (h *hardware) drive(ctx context.Context, name string) (dev.Drive, error) {
	c := h.devices[name]
	if c.Kind != "drive" {
		return nil, status.Errorf(status.BadParameter, "%s is a %s, not a drive", name, c.Kind)
	}
	o := tape.Options{Compress: c.Compression, Unprotected: !c.Protection, LockDir: h.lockDir, Log: h.log}
	if err := os.MkdirAll(h.lockDir, 0o700); err != nil {
		return nil, fmt.Errorf("the locks of tape drives: %w", err)
	}
	var err error
	if c.KeyFile != "" {
		if o.Key, err = readKey(c.KeyFile); err != nil {
			return nil, fmt.Errorf("drive %s: %w", name, err)
		}
	}
	if c.Driver == "st" {
		return h.kernelDrive(ctx, c, o)
	}
	t, err := h.connect(ctx, c)
	if err != nil {
		return nil, err
	}
	d, err := tape.Open(ctx, name, t, o)
	if err != nil {
		return nil, err // and not a drive that is nil
	}
	return d, nil
}

// kernelDrive opens a drive by the kernel's tape driver.
func (h *hardware) kernelDrive(ctx context.Context, c *scenarios.Device, o tape.Options) (dev.Drive, error) {
	where, err := h.find(ctx, c)
	if err != nil {
		return nil, err
	}
	if where.Tape == "" {
		return nil, fmt.Errorf("drive %s: %w: the kernel's tape driver has not taken %s: load the module st, or use driver: sg", c.Name, dev.ErrGone, where.Path)
	}
	d, err := tape.OpenST(ctx, c.Name, where.Tape, o)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// changer opens a robot.
func (h *hardware) changer(ctx context.Context, name string) (dev.Changer, error) {
	c := h.devices[name]
	if c.Kind != "changer" {
		return nil, status.Errorf(status.BadParameter, "%s is a %s, not a changer", name, c.Kind)
	}
	quirks, err := changer.ParseQuirks(c.Quirks)
	if err != nil {
		return nil, fmt.Errorf("changer %s: %w", name, err)
	}
	t, err := h.connect(ctx, c)
	if err != nil {
		return nil, err
	}
	opened, err := changer.Open(ctx, name, t, changer.Options{Quirks: quirks, Log: h.log})
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// connect opens the device itself. It is asked for its serial number too: what the
// kernel remembers of it may be of before a cable was plugged in elsewhere.
func (h *hardware) connect(ctx context.Context, c *scenarios.Device) (scsi.Transport, error) {
	where, err := h.find(ctx, c)
	if err != nil {
		return nil, err
	}
	t, err := h.host.Open(where.Path)
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", c.Name, err)
	}
	if c.Serial == "" {
		return t, nil
	}
	serial, err := lu.NewDevice(c.Name, t).Serial(ctx)
	if err == nil && serial != c.Serial {
		err = fmt.Errorf("%w: %s is the device with serial number %s now, not %s", dev.ErrGone, where.Path, serial, c.Serial)
	}
	if err != nil {
		_ = t.Close() // the first error is the one to tell
		return nil, fmt.Errorf("device %s: %w", c.Name, err)
	}
	return t, nil
}

// find is where a device is.
func (h *hardware) find(ctx context.Context, c *scenarios.Device) (d attached.Device, err error) {
	if c.Serial == "" {
		d, err = h.host.At(c.Path)
	} else {
		d, err = h.host.Find(ctx, c.Serial)
	}
	if err != nil {
		return d, fmt.Errorf("device %s: %w", c.Name, err)
	}
	return d, nil
}

// readKey reads the key of a drive's encryption: 64 hexadecimal digits.
func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("the encryption key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the encryption key %s can be read by others than its owner: chmod 600 it", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the encryption key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != lu.KeyBytes {
		return nil, fmt.Errorf("the encryption key %s is not of %d hexadecimal digits: make one with \"openssl rand -hex %d\"", path, 2*lu.KeyBytes, lu.KeyBytes)
	}
	return key, nil
}
