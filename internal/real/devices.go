package real

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/stream"
	"capstan/hw/ring"
	"capstan/hw/vlib"
	"capstan/scenarios"
)

// devices are the drives and robots of a host: of hardware, and of its virtual
// libraries, which are reached over the sockets of their processes.
type devices struct {
	hardware *hardware
	sockets  map[string]string // of the library, by the name of a drive or a robot

	mu      sync.Mutex
	clients map[string]*vlib.Client // by socket
	shared  []*ring.Ring
}

var _ dev.Finder = (*devices)(nil)

// librarySocket is where a library's process answers.
func librarySocket(runDir, name string) string { return filepath.Join(runDir, "l", name+".sock") }

func newDevices(c *scenarios.Host, log *slog.Logger) *devices {
	d := &devices{hardware: newHardware(c, log), sockets: map[string]string{}, clients: map[string]*vlib.Client{}}
	for i := range c.Libraries {
		l := &c.Libraries[i]
		socket := librarySocket(c.RunDir, l.Name)
		d.sockets[l.Name] = socket
		for _, drive := range l.Drives {
			d.sockets[drive.Name] = socket
		}
	}
	return d
}

// Drive opens a drive.
func (d *devices) Drive(ctx context.Context, name string) (opened dev.Drive, err error) {
	if d.hardware.has(name) {
		return d.hardware.drive(ctx, name)
	}
	err = d.with(ctx, name, func(c *vlib.Client) (err error) {
		opened, err = c.Drive(ctx, name)
		return err
	})
	return opened, err
}

// Changer opens a robot.
func (d *devices) Changer(ctx context.Context, name string) (opened dev.Changer, err error) {
	if d.hardware.has(name) {
		return d.hardware.changer(ctx, name)
	}
	err = d.with(ctx, name, func(c *vlib.Client) (err error) {
		opened, err = c.Changer(ctx, name)
		return err
	})
	return opened, err
}

// A library's process that ended is started again by the daemon: it is waited for.
const (
	libraryWait = 5 * time.Second
	libraryPoll = 100 * time.Millisecond
)

// with opens something of the library that has a device, waiting for a library
// whose process is being started.
func (d *devices) with(ctx context.Context, device string, open func(*vlib.Client) error) error {
	socket, ok := d.sockets[device]
	if !ok {
		return status.Errorf(status.DrivesDown, "this host has no device %s: see devices and libraries in its configuration", device)
	}
	for end := rt.Mono(ctx) + libraryWait; ; {
		c, err := d.client(ctx, socket)
		if err == nil {
			err = open(c)
		}
		if err == nil || !errors.Is(err, dev.ErrGone) || rt.Mono(ctx) >= end {
			return err
		}
		if err := rt.Sleep(ctx, libraryPoll); err != nil {
			return err
		}
	}
}

// client is the connection to a library. It makes itself anew when it breaks.
func (d *devices) client(ctx context.Context, socket string) (*vlib.Client, error) {
	d.mu.Lock()
	c := d.clients[socket]
	d.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := vlib.Dial(ctx, socket)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if other := d.clients[socket]; other != nil {
		return other, c.Close()
	}
	for _, r := range d.shared {
		if err := c.RegisterRegion(r.Region()); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	d.clients[socket] = c
	return c, nil
}

// ShareRing makes a ring's memory known to the libraries, so that its blocks go
// to the drives without a copy.
func (d *devices) ShareRing(_ context.Context, r stream.Ring) error {
	s, ok := r.(*sharedRing)
	if !ok {
		return fmt.Errorf("a ring of type %T cannot be shared with a library", r)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shared = append(d.shared, s.Ring)
	for _, c := range d.clients {
		if err := c.RegisterRegion(s.Region()); err != nil {
			return err
		}
	}
	return nil
}

// forget ends the sharing of a ring, before its memory is unmapped.
func (d *devices) forget(r *ring.Ring) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, s := range d.shared {
		if s != r {
			continue
		}
		_, mem := r.Region()
		for _, c := range d.clients {
			c.ForgetRegion(mem)
		}
		d.shared = append(d.shared[:i], d.shared[i+1:]...)
		return
	}
}

func (d *devices) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, c := range d.clients {
		errs = append(errs, c.Close())
	}
	clear(d.clients)
	return errors.Join(errs...)
}

// rings are the rings of a process, those that it makes being known to devices
// for as long as their memory is mapped.
type rings struct {
	*ring.Rings
	devices *devices
}

// sharedRing is a ring that may have been shared.
type sharedRing struct {
	*ring.Ring
	devices *devices
}

// Create makes a ring; see [stream.Rings].
func (r *rings) Create(ctx context.Context, name string, slots, size int) (stream.Ring, error) {
	made, err := r.Rings.Create(ctx, name, slots, size)
	if err != nil {
		return nil, err
	}
	own, ok := made.(*ring.Ring)
	if !ok {
		return made, nil
	}
	return &sharedRing{own, r.devices}, nil
}

// Close ends this side; see [stream.Ring].
func (s *sharedRing) Close() error {
	s.devices.forget(s.Ring)
	return s.Ring.Close()
}
