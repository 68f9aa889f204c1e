// Package virtual puts a virtual world together: hosts of a master, media
// servers and clients, running the roles of core on the simulation, with virtual
// libraries as their hardware.
package virtual

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"capstan/core/daemon"
	"capstan/core/dev"
	"capstan/core/dismount"
	"capstan/core/host"
	"capstan/core/ltid"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/store"
	"capstan/core/tree"
	"capstan/sim"
	simstore "capstan/sim/store"
	simtree "capstan/sim/tree"
	"capstan/vtl"
)

// Library is a virtual library and the media server that controls its robot.
type Library struct {
	Config vtl.Config
	Server string
	// Others are the media servers that have drives of it beside that one, by drive.
	Others map[string]string
	// Driver is how the media server reaches the drives and the robot; nil is directly.
	Driver func(ctx context.Context, lib *vtl.Library, server string) dev.Finder
	// Places are where the drives stand, if their order does not tell.
	Places map[string]ltid.Place
	// Dismount is how long a cartridge stays in a drive after a job.
	Dismount dismount.Policy
}

// Host is a host of the world.
type Host struct {
	Name  string
	Kinds pbx.Kinds
	// Fill makes the host's file tree, before anything runs.
	Fill func(ctx context.Context, fs *simtree.FS) error
	// Files is what a process of the host sees of the tree; nil is the tree itself.
	Files func(h *sim.Host, env *host.Env, fs *simtree.FS) tree.FS
	// Rate of its network interface and of its disk, in bytes a second; 0 is without limit.
	Link, Disk int64
	// Connection is what one data connection carries, in bytes a second; 0 is without limit.
	Connection int64
	// DiskSize is the space of each of the host's directories, in bytes; 0 is without limit.
	DiskSize int64
}

// Config is a world.
type Config struct {
	Hosts     []Host // the first that is a master is the domain's
	Libraries []Library
	Domain    daemon.Config // units, groups, policies: the master's
}

// World is a simulation with the roles on it.
type World struct {
	*sim.World
	master    string
	libraries map[string]*library // by media server
	devices   []*library
	states    map[string]*state // by host
}

// state is what of a host outlives a crash.
type state struct {
	db    *simstore.DB
	dirs  map[string]*simstore.Dir
	space int64 // of each directory
	fs    *simtree.FS
	files func(h *sim.Host, env *host.Env, fs *simtree.FS) tree.FS
	rnd   *rand.Rand
	boots int
}

// library is a running library: its own host is the hardware, which does not go
// down with a server.
type library struct {
	cfg    vtl.Config
	server string // that controls the robot
	others map[string]string
	lib    *vtl.Library
	driver func(ctx context.Context, lib *vtl.Library, server string) dev.Finder
	places map[string]ltid.Place
	stay   dismount.Policy
	finder dev.Finder
}

// New makes the world and boots its hosts.
func New(cfg Config, o sim.Options) (*World, error) {
	w := &World{libraries: map[string]*library{}, states: map[string]*state{}}
	o.Setup = w.setup
	w.World = sim.New(o)
	for _, h := range cfg.Hosts {
		if h.Kinds&pbx.Master != 0 && w.master == "" {
			w.master = h.Name
		}
	}
	for i := range cfg.Libraries {
		if err := w.addLibrary(&cfg.Libraries[i]); err != nil {
			return nil, err
		}
	}
	for i := range cfg.Hosts {
		if err := w.addHost(&cfg.Hosts[i], &cfg.Domain); err != nil {
			return nil, err
		}
	}
	for _, h := range w.Hosts() {
		h.Boot()
	}
	return w, nil
}

// Master is the name of the master's host.
func (w *World) Master() string { return w.master }

func (w *World) addLibrary(l *Library) error {
	run := &library{cfg: l.Config, server: l.Server, others: l.Others, driver: l.Driver, places: l.Places, stay: l.Dismount}
	for _, server := range append([]string{l.Server}, slices.Sorted(maps.Values(l.Others))...) {
		if other := w.libraries[server]; other != nil && other != run {
			return fmt.Errorf("media server %s has drives of two libraries: give each library its own media servers", server)
		}
		w.libraries[server] = run
	}
	w.devices = append(w.devices, run)
	h := w.NewHost("library "+l.Config.Name, 0)
	h.Daemon("library", func(ctx context.Context, _ *host.Env) error {
		return vtl.Serve(ctx, run.cfg, vtl.Options{Transfer: w.Transfer}, func(lib *vtl.Library) {
			run.lib, run.finder = lib, lib
			if run.driver != nil {
				run.finder = run.driver(ctx, lib, l.Server)
			}
		})
	})
	return nil
}

func (w *World) addHost(c *Host, domain *daemon.Config) error {
	st := &state{
		dirs: map[string]*simstore.Dir{}, space: c.DiskSize, files: c.Files,
		fs:  simtree.New(rt.Now, dev.Resource{Name: c.Name + " disk", Rate: c.Disk}),
		rnd: w.Rand(c.Name, "what a crash leaves"),
	}
	w.states[c.Name] = st
	cfg := daemon.Config{Master: w.master, Kinds: c.Kinds}
	if c.Kinds&pbx.Master != 0 {
		st.db = simstore.NewDB(daemon.Schemas()...)
		cfg.Units, cfg.Groups, cfg.Policies = domain.Units, domain.Groups, domain.Policies
	}
	if l := w.libraries[c.Name]; l != nil {
		cfg.Libraries = []ltid.Library{l.of(c.Name)}
	}
	h := w.NewHost(c.Name, c.Kinds)
	h.Mains = daemon.Mains()
	h.SetRate(c.Link)
	h.SetStream(c.Connection)
	if c.Fill != nil {
		if err := w.Do(h, "fill", func(ctx context.Context, _ *host.Env) error { return c.Fill(ctx, st.fs) }); err != nil {
			return fmt.Errorf("the files of %s: %w", c.Name, err)
		}
	}
	h.Daemon("daemon", func(ctx context.Context, env *host.Env) error {
		st.boot()
		return daemon.Run(ctx, env, cfg, func() {})
	})
	return nil
}

// of is the library as one of its media servers knows it: with the drives that are its own.
func (l *library) of(server string) ltid.Library {
	out := ltid.Library{Name: l.cfg.Name, Control: l.server, Drives: driveNames(&l.cfg), Places: l.places, Dismount: l.stay}
	if len(l.others) == 0 {
		return out
	}
	out.Drives = nil
	if l.places == nil {
		out.Places = map[string]ltid.Place{}
	}
	for i, d := range l.cfg.Drives {
		if cmp.Or(l.others[d.Name], l.server) != server {
			continue
		}
		out.Drives = append(out.Drives, d.Name)
		if l.places == nil {
			out.Places[d.Name] = ltid.Place{Element: vtl.DriveAddress(i)}
		}
	}
	return out
}

func driveNames(c *vtl.Config) (names []string) {
	for _, d := range c.Drives {
		names = append(names, d.Name)
	}
	return names
}

// boot is what the start of a host finds: after a crash, what was durable.
func (st *state) boot() {
	if st.boots++; st.boots == 1 {
		return
	}
	if st.db != nil {
		st.db.Crash()
	}
	for _, name := range slices.Sorted(maps.Keys(st.dirs)) {
		st.dirs[name].Crash()
	}
}

// setup completes the environment of a process.
func (w *World) setup(h *sim.Host, env *host.Env) {
	st := w.states[h.Name()]
	if st == nil {
		return // a library
	}
	env.Files = st.fs
	if st.files != nil {
		env.Files = st.files(h, env, st.fs)
	}
	env.Transfer = w.Transfer
	env.Devices = finder{w.libraries[h.Name()]}
	env.Dir = func(path string) store.Dir {
		d := st.dirs[path]
		if d == nil {
			d = simstore.NewDir(st.space, st.rnd)
			st.dirs[path] = d
		}
		return d
	}
	if st.db != nil {
		env.DB = st.db
	}
}

// finder gives the devices of a host's library.
type finder struct{ l *library }

func (f finder) Drive(ctx context.Context, name string) (dev.Drive, error) {
	if f.l == nil || f.l.lib == nil {
		return nil, &dev.Error{Device: name, Op: "open", Err: dev.ErrGone}
	}
	return f.l.finder.Drive(ctx, name)
}

func (f finder) Changer(ctx context.Context, name string) (dev.Changer, error) {
	if f.l == nil || f.l.lib == nil {
		return nil, &dev.Error{Device: name, Op: "open", Err: dev.ErrGone}
	}
	return f.l.finder.Changer(ctx, name)
}

// Stats are what the libraries' devices did, in the order of the configuration.
func (w *World) Stats() (robots []dev.RobotStats, drives []dev.DriveStats) {
	for _, l := range w.devices {
		if l.lib == nil {
			continue
		}
		r, ds := l.lib.Stats()
		robots, drives = append(robots, r), append(drives, ds...)
	}
	return robots, drives
}

// Library is the virtual library of a media server, nil if it has none.
func (w *World) Library(server string) *vtl.Library {
	if l := w.libraries[server]; l != nil {
		return l.lib
	}
	return nil
}

// Files is the file tree of a host.
func (w *World) Files(name string) *simtree.FS { return w.states[name].fs }
