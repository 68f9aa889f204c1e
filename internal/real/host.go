// Package real puts a host of the real world together from its configuration
// file: the daemon that runs the host's roles, the processes that the daemon
// starts for jobs and for virtual libraries, and the session of a person's
// command.
//
//	capstan media ──── Run ─────── the roles of the host (core/daemon)
//	  ├─ process bptm/7/1/0 ── Process: one role for one job (hw/process)
//	  ├─ process bptm/7/1/1
//	  └─ process library/0/0/0: the drives and the robot of a virtual library
//
// All of them read the same configuration: the daemon hands its text on, so that
// a file that is edited meanwhile changes nothing before the daemon's restart.
// Below the host's stateDir are
//
//	pki/            key and certificates; on the master the authority
//	master.db       the master's database
//	images/         the master's image database
//	libraries/NAME/ the cartridges of a virtual library
//	trace.jsonl     trace events that the master has not got yet
//	lock            held by the daemon
//
// and below its runDir the sockets of what runs: s/ of services, r/ of rings,
// l/ of libraries; t/ has the locks of tape drives.
package real

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/hw/pki"
	"capstan/hw/port"
	"capstan/hw/ring"
	"capstan/hw/tree"
	"capstan/scenarios"
)

// Host is a host as its configuration says, with its credentials.
type Host struct {
	Config scenarios.Host
	Kinds  pbx.Kinds
	Creds  *pki.Credentials
	text   []byte // of the configuration file
}

// PKIDir is where a host keeps key and certificates.
func PKIDir(stateDir string) string { return filepath.Join(stateDir, "pki") }

// Load reads a host's configuration file and its credentials.
func Load(path string) (*Host, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the host's configuration: %w", err)
	}
	h, err := parse(path, text)
	if err != nil {
		return nil, err
	}
	if err := h.identify(); err != nil {
		return nil, err
	}
	return h, nil
}

// identify reads the host's credentials.
func (h *Host) identify() (err error) {
	if h.Creds, err = pki.Load(PKIDir(h.Config.StateDir)); err != nil {
		return fmt.Errorf("credentials of host %s (is it enrolled?): %w", h.Config.Name, err)
	}
	return h.check()
}

// parse reads the text of a configuration file.
func parse(path string, text []byte) (*Host, error) {
	cfg, err := scenarios.Load[scenarios.Host](path, text)
	if err != nil {
		return nil, err
	}
	h := &Host{Config: *cfg, text: text}
	kinds, ok := pbx.ParseKinds(strings.Join(cfg.Kinds, "+"))
	if !ok {
		return nil, fmt.Errorf("%s: kinds %v: want master, media, client", path, cfg.Kinds)
	}
	h.Kinds = kinds
	for i := range cfg.Libraries {
		if socket := librarySocket(cfg.RunDir, cfg.Libraries[i].Name); len(socket) > maxSocket {
			return nil, fmt.Errorf("%s: runDir: %s would be the socket of a library, with %d bytes; choose a shorter one, at most %d fit", path, socket, len(socket), maxSocket)
		}
	}
	return h, nil
}

// maxSocket is the longest path of a Unix socket, in bytes (unix(7)).
const maxSocket = 107

// check compares what the configuration says with what the certificate proves.
func (h *Host) check() error {
	id := h.Creds.Identity
	switch {
	case id.Name != h.Config.Name:
		return fmt.Errorf("the configuration is of host %s, the certificate in %s of %s", h.Config.Name, PKIDir(h.Config.StateDir), id)
	case h.Creds.Domain != h.Config.Domain:
		return fmt.Errorf("host %s: the configuration is of domain %s, the certificate of %s", id.Name, h.Config.Domain, h.Creds.Domain)
	case h.Kinds&^id.Kinds != 0:
		return fmt.Errorf("host %s is configured as %s, but its certificate says %s: enrol it anew with a token for those kinds", id.Name, h.Kinds, id.Kinds)
	}
	return nil
}

// Master is the name of the domain's master.
func (h *Host) Master() string {
	if h.Kinds&pbx.Master != 0 || h.Config.Master.Name == "" {
		return h.Config.Name
	}
	return h.Config.Master.Name
}

// defaultPort is PBX's.
const defaultPort = "1556"

// resolve is the address of a host: as configured, or looked up in DNS.
func (h *Host) resolve(name string) (string, error) {
	c := &h.Config
	if addr := c.Hosts[name]; addr != "" {
		return addr, nil
	}
	switch name {
	case c.Name:
		return ownAddress(c.Listen)
	case c.Master.Name:
		return c.Master.Address, nil
	}
	return net.JoinHostPort(name, defaultPort), nil
}

// ownAddress is where a process reaches its own host's port.
func ownAddress(listen string) (string, error) {
	ip, portNumber, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("the address to listen on: %w", err)
	}
	if a := net.ParseIP(ip); a == nil || a.IsUnspecified() {
		ip = "localhost"
	}
	return net.JoinHostPort(ip, portNumber), nil
}

// open makes the host's network for a process at an address. run is the
// directory of sockets, "" for a process that serves nothing.
func (h *Host) open(self pbx.Addr, run string, log *slog.Logger) (*port.Port, error) {
	return port.New(port.Config{Self: self, Creds: h.Creds, Run: run, Resolve: h.resolve, Log: log})
}

// world is what a process of the host can reach; closeWorld lets go of it.
func (h *Host) world(p *port.Port, log *slog.Logger) (env *host.Env, closeWorld func() error) {
	dirs := newDirs(h.Config.StateDir)
	devices := newDevices(&h.Config, log)
	env = &host.Env{
		Host: h.Config.Name, Addr: p.Self(), Calls: p, Data: p,
		Rings: &rings{Rings: ring.New(h.Config.RunDir, log), devices: devices},
		Files: tree.New(), Dir: dirs.dir, Devices: devices, Log: log,
	}
	return env, func() error { return errors.Join(devices.close(), p.Close(), dirs.close()) }
}

// insist refuses a configuration that is not of a kind.
func (h *Host) insist(kind pbx.Kinds) error {
	if kind != 0 && h.Kinds&kind == 0 {
		return status.Errorf(status.BadParameter, "host %s is configured as %s, not as %s", h.Config.Name, h.Kinds, kind)
	}
	return nil
}
