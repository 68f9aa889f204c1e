package fuse

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"capstan/core/bpdbm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/stage"
)

// Config is a mount.
type Config struct {
	// Task makes the calling goroutine a task whose calls are those of this host, or
	// user. Its context does not end by itself.
	Task func(name string) context.Context
	// Master is the master's host, Host this one, to which restores are made. A host
	// that is only a client may mount its own images alone.
	Master, Host string
	// Stage is a directory for files that were fetched, and Limit how many bytes of
	// them are kept. Only this mount uses it.
	Stage string
	Limit int64
	// AllowOther lets other users in; each reads what the files' modes let him.
	AllowOther bool
	// Zone is the time zone of the names of days and hours; nil is the local one.
	Zone  *time.Location
	Rules stage.Rules
	Log   *slog.Logger
	// Debug has every request of the kernel logged.
	Debug bool
}

// Mount is a mounted catalog.
type Mount struct {
	server *fuse.Server
	system *system
	stop   func(error)
}

// system is what all nodes share.
type system struct {
	cfg    Config
	log    *slog.Logger
	images *images
	staged *staged
	stager *stage.Stager
	looks  *stage.Looks
	asked  *requests
	full   seldom // too many wait
	// compared are the comparisons that are looked into.
	compared comparisons
	// mountpoint is the directory at which the catalog is seen.
	mountpoint string
}

// catalogMemory is how many bytes of catalogs are kept.
const catalogMemory = 128 << 20

// How long the kernel may believe what it was told: of what never changes, and of what
// comes and goes with images.
const (
	forever = time.Hour
	soon    = time.Second
)

// New mounts the catalog at a directory.
func New(dir string, cfg Config) (*Mount, error) {
	if cfg.Zone == nil {
		cfg.Zone = time.Local
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	at, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	ctx, stop := rt.WithCancel(cfg.Task("mount"))
	s := &system{cfg: cfg, mountpoint: at, log: cfg.Log, looks: stage.NewLooks(rt.NewLock(ctx))}
	if s.staged, err = openStaged(cfg.Stage, cfg.Limit, cfg.Log); err != nil {
		stop(nil)
		return nil, err
	}
	s.images = newImages(s, bpdbm.NewRemote(ctx, pbx.At(cfg.Master, bpdbm.Service), catalogMemory))
	s.stager = stage.New(ctx, cfg.Rules, s.fetch)
	s.asked = newRequests(s)
	if err := s.images.refresh(ctx); err != nil {
		stop(nil)
		return nil, fmt.Errorf("the master's images: %w", err)
	}
	zero, missing := time.Duration(0), forever
	server, err := fs.Mount(dir, s.root(), &fs.Options{
		EntryTimeout: &zero, AttrTimeout: &zero, // nodes say their own
		NegativeTimeout: &missing, // unless a node says a time: then a name that is not there is not remembered
		NullPermissions: true,
		RootStableAttr:  &fs.StableAttr{Ino: 1},
		MountOptions: fuse.MountOptions{
			AllowOther: cfg.AllowOther, FsName: "capstan:" + cfg.Master, Name: "capstan", Debug: cfg.Debug,
			DirectMount: os.Geteuid() == 0, Options: []string{"default_permissions"}, EnableAcl: true,
			MaxReadAhead: 128 << 10, EnableSymlinkCaching: true,
		},
	})
	if err != nil {
		stop(nil)
		return nil, fmt.Errorf("mounting at %s: %w", dir, err)
	}
	return &Mount{server, s, stop}, nil
}

// Wait returns when the catalog is no longer mounted.
func (m *Mount) Wait() {
	m.server.Wait()
	m.stop(nil)
}

// Unmount ends the mount. It is refused while somebody uses it.
func (m *Mount) Unmount() error { return m.server.Unmount() }

// root is the top directory.
func (s *system) root() *dir {
	return s.fixed("/", []child{
		{name: "clients", make: func() fs.InodeEmbedder { return s.clientsDir() }},
		{name: "media", make: func() fs.InodeEmbedder { return s.mediaDir() }},
		{name: ".restore", make: func() fs.InodeEmbedder { return s.restoreDir() }},
	})
}

// task is a context for one request of the kernel.
func (s *system) task(name string) context.Context { return s.cfg.Task(name) }

// jobsDir is where restore jobs put what they bring.
func (s *system) jobsDir() string { return filepath.Join(s.cfg.Stage, "jobs") }
