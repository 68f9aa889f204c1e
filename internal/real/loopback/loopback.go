// Package loopback runs a whole domain on one machine: a master, a media server
// with a virtual library and a disk, and a client, each the daemon of a host of
// its own in a process of its own, on the loopback interface, all below one
// directory. The demonstration uses it, and tests of the real world do.
//
//	d, err := loopback.New(ctx, loopback.Options{Dir: dir, Command: command})
//	defer d.Close()
//	err = d.PutPolicy(ctx, policy.Policy{…, Clients: []string{loopback.Client}, Storage: "tape"})
//	j, err := d.Backup(ctx, "p", "", nil)
package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"capstan/core/pbx"
	"capstan/internal/real"
	"capstan/scenarios"
)

// The names of the hosts.
const (
	Master = "master1"
	Media  = "media1"
	Client = "client1"
)

// Options say how a domain is run.
type Options struct {
	// Dir is an empty directory, or one that does not exist. Its path is short, as
	// sockets are below it.
	Dir string
	// Command makes the command that runs the daemon of a host of a kind ("master",
	// "media", "client") with a configuration file.
	Command func(kind, config string) *exec.Cmd
	// Library, if it has a name, is used instead of [real.StarterLibrary].
	Library scenarios.Library
	// Units, if any, are the storage units instead of "tape" and "disk".
	Units []scenarios.StorageUnit
	// Clients are the names of further clients.
	Clients []string
	// Addresses are where hosts listen, by name; the others listen on a free port of
	// the loopback interface.
	Addresses map[string]string
}

// Domain is a domain that runs.
type Domain struct {
	opts    Options
	hosts   []*hosting // in the order in which they are started
	session *real.Session
	drives  int
}

// hosting is one host.
type hosting struct {
	name, kind string
	kinds      pbx.Kinds
	addr       string
	config     scenarios.Host
	daemon     *daemon // nil while it does not run
}

// New makes a domain and starts it. It returns when the drives are ready.
func New(ctx context.Context, o Options) (*Domain, error) {
	if o.Library.Name == "" {
		o.Library = real.StarterLibrary("vtl1")
	}
	if len(o.Units) == 0 {
		o.Units = real.StarterUnits(Media, o.Library.Name, filepath.Join(o.Dir, "disk"))
	}
	d := &Domain{opts: o, drives: len(o.Library.Drives)}
	err := d.configure()
	if err == nil {
		err = d.found(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// configure decides what the hosts' configurations say.
func (d *Domain) configure() error {
	if err := os.MkdirAll(filepath.Join(d.opts.Dir, "disk"), 0o700); err != nil {
		return err
	}
	d.hosts = []*hosting{
		{name: Master, kind: "master", kinds: pbx.Master}, {name: Media, kind: "media", kinds: pbx.Media}, {name: Client, kind: "client", kinds: pbx.Client},
	}
	for _, name := range d.opts.Clients {
		d.hosts = append(d.hosts, &hosting{name: name, kind: "client", kinds: pbx.Client})
	}
	addrs := map[string]string{}
	for _, h := range d.hosts {
		addr, err := d.address(h.name)
		if err != nil {
			return err
		}
		h.addr, addrs[h.name] = addr, addr
	}
	for _, h := range d.hosts {
		h.config = scenarios.Host{
			Domain: "loopback", Name: h.name, Kinds: []string{h.kind}, Listen: h.addr, Hosts: addrs,
			Master:   scenarios.Peer{Name: Master, Address: addrs[Master]},
			StateDir: filepath.Join(d.Dir(h.name), "state"), RunDir: filepath.Join(d.Dir(h.name), "run"),
		}
	}
	d.host(Master).config.StorageUnits = d.opts.Units
	d.host(Media).config.Libraries = []scenarios.Library{d.opts.Library}
	return nil
}

func (d *Domain) address(host string) (string, error) {
	if addr := d.opts.Addresses[host]; addr != "" {
		return addr, nil
	}
	return freeAddress()
}

// freeAddress is an address of the loopback interface that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// found makes the domain with its master, enrols the others, and starts all.
func (d *Domain) found(ctx context.Context) error {
	for _, h := range d.hosts {
		if err := d.join(ctx, h); err != nil {
			return fmt.Errorf("host %s: %w", h.name, err)
		}
		if err := d.Start(ctx, h.name); err != nil {
			return err
		}
	}
	return d.Ready(ctx)
}

// join gives a host its configuration and its credentials.
func (d *Domain) join(ctx context.Context, h *hosting) error {
	if err := os.MkdirAll(h.config.StateDir, 0o700); err != nil {
		return err
	}
	if _, err := real.WriteConfig(d.Dir(h.name), &h.config); err != nil {
		return err
	}
	if h.kinds&pbx.Master != 0 {
		return real.InitAuthority(&h.config)
	}
	token, _, err := real.NewToken(d.Config(Master), h.name, h.kinds, time.Minute)
	if err != nil {
		return err
	}
	return real.EnrollConfigured(ctx, &h.config, token)
}

// Dir is the directory of a host.
func (d *Domain) Dir(host string) string { return filepath.Join(d.opts.Dir, host) }

// Config is the path of a host's configuration.
func (d *Domain) Config(host string) string { return filepath.Join(d.Dir(host), real.ConfigFile) }

// Log is the path of the log of a host's daemons.
func (d *Domain) Log(host string) string { return filepath.Join(d.opts.Dir, host+".log") }

func (d *Domain) host(name string) *hosting {
	for _, h := range d.hosts {
		if h.name == name {
			return h
		}
	}
	panic("loopback: there is no host " + name)
}

// Close ends the daemons and reports those that did not end well and
// every process that was left.
func (d *Domain) Close() error {
	if d.session != nil {
		d.session.Close()
		d.session = nil
	}
	var errs []error
	// The media server's processes tell the others that they end.
	for _, name := range []string{Media, Client, Master} {
		if len(d.hosts) > 0 { // else nothing was begun
			errs = append(errs, d.Stop(name))
		}
	}
	left, err := d.Left()
	errs = append(errs, err)
	if len(left) > 0 {
		errs = append(errs, fmt.Errorf("processes were left: %v", left))
	}
	return errors.Join(errs...)
}
