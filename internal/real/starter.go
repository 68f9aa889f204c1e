package real

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"capstan/core/pbx"
	"capstan/hw/pki"
	"capstan/hw/port"
	"capstan/scenarios"
)

// Starter is what a new host is made of. Configuration, state and run directory
// all come to lie in one directory; an operator may move them.
type Starter struct {
	Dir    string // absolute
	Domain string // of a master
	Name   string
	Kinds  pbx.Kinds
	Listen string // ip:port

	// Of a host that is enrolled.
	MasterName, MasterAddress string
	Token                     string
}

// ConfigFile is the name of a host's configuration in its directory.
const ConfigFile = "host.yaml"

// Init makes a domain: its authority, its master's credentials and a
// configuration to start from, whose path it returns.
func Init(s Starter) (path string, err error) {
	path, err = s.write(s.Domain, s.Kinds)
	if err != nil {
		return "", err
	}
	if err := found(s.stateDir(), s.Domain, s.Name, s.Kinds); err != nil {
		return "", errors.Join(err, os.Remove(path))
	}
	return path, nil
}

func found(stateDir, domain, name string, kinds pbx.Kinds) error {
	if _, err := pki.Init(PKIDir(stateDir), domain, name, kinds); err != nil {
		return fmt.Errorf("making domain %s: %w", domain, err)
	}
	return nil
}

// InitAuthority makes the domain of a master that has its configuration already.
func InitAuthority(h *scenarios.Host) error {
	kinds, _ := pbx.ParseKinds(strings.Join(h.Kinds, "+")) // the loader has checked them
	return found(h.StateDir, h.Domain, h.Name, kinds)
}

// EnrollConfigured makes a host that has its configuration already a member of
// the domain.
func EnrollConfigured(ctx context.Context, h *scenarios.Host, token string) error {
	_, err := port.Enrol(ctx, h.Master.Address, token, PKIDir(h.StateDir))
	return err
}

// NewToken makes an enrolment token on the master whose configuration is at
// configPath, and returns it with that host.
func NewToken(configPath, name string, kinds pbx.Kinds, lifetime time.Duration) (string, *Host, error) {
	h, err := Load(configPath)
	if err == nil {
		err = h.insist(pbx.Master)
	}
	if err != nil {
		return "", nil, err
	}
	a, err := pki.Open(PKIDir(h.Config.StateDir))
	if err != nil {
		return "", nil, fmt.Errorf("the domain's authority: %w", err)
	}
	token, err := a.NewToken(name, kinds, lifetime)
	return token, h, err
}

// Enroll makes a host a member of a domain, and writes a configuration to start
// from, whose path it returns; or, if the token is a person's, the user.
func Enroll(ctx context.Context, s Starter) (path string, id pbx.Identity, err error) {
	dir := PKIDir(s.stateDir())
	if s.Dir == "" {
		if dir, err = UserDir(); err != nil {
			return "", id, err
		}
	}
	creds, err := port.Enrol(ctx, s.MasterAddress, s.Token, dir)
	if err != nil {
		return "", id, err
	}
	id = creds.Identity
	if id.Name != s.Name {
		return "", id, fmt.Errorf("the token was made for %s, not for %s: credentials of %s are in %s now", id, s.Name, id.Name, dir)
	}
	if s.Dir == "" || id.Is(pbx.User) {
		return "", id, nil
	}
	path, err = s.write(creds.Domain, id.Kinds)
	return path, id, err
}

func (s *Starter) stateDir() string { return filepath.Join(s.Dir, "state") }

// write writes the configuration. It replaces none.
func (s *Starter) write(domain string, kinds pbx.Kinds) (path string, err error) {
	h := scenarios.Host{
		Domain: domain, Name: s.Name, Kinds: strings.Split(kinds.String(), "+"), Listen: s.Listen,
		StateDir: s.stateDir(), RunDir: filepath.Join(s.Dir, "run"),
	}
	if kinds&pbx.Master == 0 {
		h.Master = scenarios.Peer{Name: s.MasterName, Address: s.MasterAddress}
	}
	if kinds&pbx.Media != 0 {
		h.Libraries = []scenarios.Library{StarterLibrary(s.Name + "-vtl")}
	}
	if kinds&(pbx.Master|pbx.Media) == pbx.Master|pbx.Media {
		disk := filepath.Join(s.Dir, "disk")
		h.StorageUnits = StarterUnits(s.Name, h.Libraries[0].Name, disk)
		if err := os.MkdirAll(disk, 0o700); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(h.StateDir, 0o700); err != nil {
		return "", err
	}
	return WriteConfig(s.Dir, &h)
}

// WriteConfig writes a host's configuration into a directory, where it replaces
// none, and returns its path.
func WriteConfig(dir string, h *scenarios.Host) (path string, err error) {
	text, err := scenarios.Marshal(h)
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, ConfigFile)
	if _, err := parse(path, text); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", fmt.Errorf("the configuration to start from: %w", err)
	}
	_, err = f.Write(text)
	return path, errors.Join(err, f.Close())
}

// StarterLibrary is a small virtual library: two drives, ten slots, eight
// cartridges, which take no longer than their files do.
func StarterLibrary(name string) scenarios.Library {
	return scenarios.Library{
		Name: name, Slots: 10,
		Drives:     []scenarios.Drive{{Name: name + "-d1", Model: "LTO-8"}, {Name: name + "-d2", Model: "LTO-8"}},
		Cartridges: scenarios.Cartridges{Count: 8, Prefix: "CAP", Density: "LTO-8", Compression: 1},
	}
}

// StarterUnits are two storage units of a media server, "tape" in its library
// and "disk" in a directory.
func StarterUnits(mediaServer, library, disk string) []scenarios.StorageUnit {
	return []scenarios.StorageUnit{
		{Name: "tape", Kind: "tape", MediaServer: mediaServer, Library: library, Density: "LTO-8", BlockSize: 256 << 10},
		{Name: "disk", Kind: "disk", MediaServer: mediaServer, Path: disk, BlockSize: 256 << 10},
	}
}
