package real

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/daemon"
	"capstan/core/ltid"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/trace"
	"capstan/hw/clock"
	"capstan/hw/pki"
	"capstan/hw/port"
	"capstan/hw/process"
	"capstan/hw/sqlite"
	"capstan/internal/convert"
)

// Options are what the command line says of a daemon.
type Options struct {
	Kind  pbx.Kinds // that the configuration must have; 0 is any
	Log   *slog.Logger
	Grace time.Duration // of processes that are told to end; 0 is 10 s
	// Ready is called when the roles answer, with the address that the host
	// listens on.
	Ready func(addr string)
}

// Service is the last part of a daemon's own address.
const Service = "daemon"

// Run runs the daemon of the host whose configuration is at path until ctx ends;
// then it ends the processes of jobs, the roles and the libraries, in this order.
// If it is killed, the kernel ends the processes.
func Run(ctx context.Context, path string, o Options) error {
	h, err := Load(path)
	if err == nil {
		err = h.insist(o.Kind)
	}
	if err != nil {
		return err
	}
	if o.Grace == 0 {
		o.Grace = process.DefaultGrace
	}
	d := &running{Host: h, opts: o, log: o.Log.With("host", h.Config.Name)}
	defer func() {
		for i := len(d.closers) - 1; i >= 0; i-- {
			err = errors.Join(err, d.closers[i]())
		}
	}()
	if err := d.open(); err != nil {
		return err
	}
	err = d.serve(ctx)
	return err
}

// running is a daemon that runs.
type running struct {
	*Host
	opts     Options
	log      *slog.Logger
	exchange *port.Exchange
	port     *port.Port
	spool    *spool
	procs    *processes
	closers  []func() error
}

func (d *running) closeLater(fn func() error) { d.closers = append(d.closers, fn) }

// open takes the state directory, the host's port and all else that can fail
// before the first role runs.
func (d *running) open() error {
	c := &d.Config
	if err := d.lock(); err != nil {
		return err
	}
	// What dead processes left: with the lock held, no process of ours lives.
	if err := os.RemoveAll(filepath.Join(c.RunDir, "r")); err != nil {
		return fmt.Errorf("clearing the run directory: %w", err)
	}
	var authority *pki.Authority
	var err error
	if d.Kinds&pbx.Master != 0 {
		if authority, err = pki.Open(PKIDir(c.StateDir)); err != nil {
			return fmt.Errorf("the domain's authority: %w", err)
		}
	}
	d.exchange, err = port.Listen(port.ExchangeConfig{Listen: c.Listen, Run: c.RunDir, Creds: d.Creds, Enrol: authority, Log: d.log})
	if err != nil {
		return err
	}
	d.closeLater(d.exchange.Close)
	if d.port, err = d.Host.open(pbx.At(c.Name, Service), c.RunDir, d.log); err != nil {
		return err
	}
	if d.spool, err = openSpool(c.StateDir, d.Master(), d.log); err != nil {
		return errors.Join(err, d.port.Close())
	}
	d.closeLater(d.spool.close)
	d.procs = newProcesses(process.New(process.Config{World: d.text, OnTrace: d.spool.add, Log: d.log, Grace: d.opts.Grace}))
	return nil
}

// lock keeps a second daemon from the host's state.
func (d *running) lock() error {
	dir := d.Config.StateDir
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("the host's state: %w", err)
	}
	d.closeLater(f.Close)
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("another daemon runs on %s: %w", dir, err)
	}
	return nil
}

// serve runs the libraries and the roles until outer ends.
func (d *running) serve(outer context.Context) error {
	// The roles' context is not outer: when that ends, jobs end before the roles do.
	ctx, cancel := rt.WithCancel(clock.Context(context.WithoutCancel(outer), Service))
	defer cancel(nil)
	ctx = pbx.With(ctx, d.port, incarnation(), 0)
	ctx = trace.With(ctx, trace.New(ctx, d.Config.Name, string(d.port.Self()), d.spool))
	env, closeWorld := d.world(d.port, d.log)
	d.closeLater(closeWorld)
	env.Local = d.procs
	if d.Kinds&pbx.Master != 0 {
		db, err := sqlite.Open(ctx, filepath.Join(d.Config.StateDir, "master.db"), daemon.Schemas()...)
		if err != nil {
			return fmt.Errorf("the master's database: %w", err)
		}
		d.closeLater(db.Close)
		env.DB = db
	}
	libraries := d.startLibraries(ctx)
	rt.Go(ctx, "trace", d.spool.run)
	defer context.AfterFunc(outer, func() {
		rt.Go(ctx, "end", func(ctx context.Context) {
			d.endJobs(ctx)
			cancel(errEnding)
		})
	})()
	err := daemon.Run(ctx, env, d.roles(), func() {
		d.log.Info("ready", "kinds", d.Kinds.String(), "address", d.exchange.Addr())
		if d.opts.Ready != nil {
			d.opts.Ready(d.exchange.Addr())
		}
	})
	cancel(errEnding)
	after := rt.WithoutCancel(ctx)
	d.procs.end(after, true, d.opts.Grace)
	d.procs.end(after, false, d.opts.Grace)
	libraries.Wait()
	if outer.Err() != nil {
		d.log.Info("ended")
		return nil
	}
	return err
}

// errEnding is why the roles' context ends.
var errEnding = errors.New("the daemon was told to end")

// endJobs ends what works for jobs while the roles still answer, so that the
// ends are reported, and sends the trace.
func (d *running) endJobs(ctx context.Context) {
	d.log.Info("ending")
	d.procs.end(rt.WithoutCancel(ctx), true, d.opts.Grace)
	ctx, cancel := rt.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := d.spool.flush(ctx); err != nil {
		d.log.Info("some trace events are kept for the next start", "error", err)
	}
}

// startLibraries starts the host's virtual libraries and returns when they have
// come up, or failed to; they go on being kept until ctx ends.
func (d *running) startLibraries(ctx context.Context) *sync.WaitGroup {
	var kept, up sync.WaitGroup
	for n := range d.Config.Libraries {
		kept.Add(1)
		up.Add(1)
		rt.Go(ctx, "library", func(ctx context.Context) {
			defer kept.Done()
			keepLibrary(ctx, d.procs, &d.Config, n, d.log, sync.OnceFunc(up.Done))
		})
	}
	up.Wait()
	return &kept
}

// roles is what the host's roles are told.
func (d *running) roles() daemon.Config {
	c := &d.Config
	out := daemon.Config{Master: d.Master(), Kinds: d.Kinds}
	for i := range c.Libraries {
		l := &c.Libraries[i]
		out.Libraries = append(out.Libraries, ltid.Library{Name: l.Name, Control: c.Name, Drives: convert.DriveNames(l), Dismount: l.Dismount})
	}
	out.Libraries = append(out.Libraries, convert.Hardware(c)...)
	for i := range c.StorageUnits {
		out.Units = append(out.Units, convert.Unit(&c.StorageUnits[i]))
	}
	for i := range c.Groups {
		out.Groups = append(out.Groups, convert.Group(&c.Groups[i]))
	}
	return out
}
