// Package daemon puts the roles of one host together: those of a master, of a
// media server and of a client, as its certificate says, and the PBX service
// that starts the processes of jobs. Both worlds run hosts by calling [Run].
package daemon

import (
	"context"
	"fmt"
	"strings"

	"capstan/core/avrd"
	"capstan/core/bpbkar"
	"capstan/core/bpbrm"
	"capstan/core/bpcompatd"
	"capstan/core/bpdbm"
	"capstan/core/bpjobd"
	"capstan/core/bprd"
	"capstan/core/bptm"
	"capstan/core/host"
	"capstan/core/ltid"
	"capstan/core/nbemm"
	"capstan/core/nbjm"
	"capstan/core/nbpem"
	"capstan/core/nbproxy"
	"capstan/core/nbrb"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/core/tar"
	"capstan/core/trace"
	"capstan/core/txxcd"
	"capstan/core/txxd"
)

// Config is what an administrator says of a host.
type Config struct {
	Master    string // the master's host name
	Kinds     pbx.Kinds
	Libraries []ltid.Library // whose drives this media server has
	// The master's storage units and groups.
	Units  []nbemm.StorageUnit
	Groups []nbemm.Group
	// Policies that are put at start, if the master does not know them.
	Policies []policy.Policy
}

// ImagesDir is the directory of the image database in the master's state.
const ImagesDir = "images"

// Schemas are the tables of the master's database.
func Schemas() []*store.Schema {
	var all []*store.Schema
	for _, s := range [][]*store.Schema{bpjobd.Schemas(), bpdbm.Schemas(), nbemm.Schemas(), nbpem.Schemas()} {
		all = append(all, s...)
	}
	return all
}

// Mains are the main functions of the roles that run as processes.
func Mains() host.Mains {
	return host.Mains{
		bpbrm.Role:  parentOrChild(host.Role(bpbrm.Main), host.Role(bpbrm.Child)),
		bptm.Role:   parentOrChild(host.Role(bptm.Main), host.Role(bptm.Child)),
		bpbkar.Role: host.Role(bpbkar.Main),
		tar.Role:    host.Role(tar.Main),
		bprd.Role:   host.Role(bprd.Child),
	}
}

// parentOrChild chooses by the process's number in its role.
func parentOrChild(parent, child host.Main) host.Main {
	return func(ctx context.Context, env *host.Env, args host.Body, ready func()) (host.Body, error) {
		if strings.HasSuffix(string(env.Addr), "/0") {
			return parent(ctx, env, args, ready)
		}
		return child(ctx, env, args, ready)
	}
}

// Run runs the roles of a host until ctx ends. ready is called when all answer.
func Run(ctx context.Context, env *host.Env, cfg Config, ready func()) error {
	h := &hosting{env: env, cfg: cfg}
	defer h.close()
	mux := pbx.NewMux(ctx, host.Service, 0)
	host.NewDaemon(ctx, env, h.mayStart).Handle(mux)
	if err := h.serve(ctx, host.Service, mux); err != nil {
		return err
	}
	if cfg.Kinds&pbx.Master != 0 {
		if err := h.master(ctx); err != nil {
			return err
		}
	}
	if cfg.Kinds&pbx.Media != 0 {
		if err := h.media(ctx); err != nil {
			return err
		}
	}
	ready()
	return rt.NewEvent(ctx).Wait(ctx) // nothing sets it: until ctx ends
}

// hosting is the services of one host.
type hosting struct {
	env   *host.Env
	cfg   Config
	stops []func()
}

// served is a service and what it answers.
type served struct {
	service string
	mux     *pbx.Mux
}

func (h *hosting) serve(ctx context.Context, service string, mux *pbx.Mux) error {
	stop, err := h.env.Calls.Serve(ctx, service, mux)
	if err != nil {
		return fmt.Errorf("serving %s on %s: %w", service, h.env.Host, err)
	}
	h.stops = append(h.stops, stop)
	return nil
}

func (h *hosting) close() {
	for _, stop := range h.stops {
		stop()
	}
}

// mayStart says who may have which process started here.
func (h *hosting) mayStart(from pbx.Peer, s host.Spec) error {
	own := from.Name == h.env.Host
	ok := false
	switch s.Role {
	case bpbrm.Role:
		ok = h.cfg.Kinds&pbx.Media != 0 && (from.Is(pbx.Master) && s.N == 0 || own)
	case bptm.Role:
		ok = h.cfg.Kinds&pbx.Media != 0 && own
	case bpbkar.Role, tar.Role:
		ok = h.cfg.Kinds&pbx.Client != 0 && from.Is(pbx.Media)
	case bprd.Role:
		ok = h.cfg.Kinds&pbx.Master != 0 && own
	}
	if !ok {
		return status.Errorf(status.InvalidServer, "%s may not start %s on %s, which is a %s", from, s.Role, h.env.Host, h.cfg.Kinds)
	}
	return nil
}

func (h *hosting) master(ctx context.Context) error {
	env, name := h.env, h.env.Host
	epoch, err := env.DB.Sequence(ctx, "epoch")
	if err != nil {
		return fmt.Errorf("the master's database: %w", err)
	}
	e := uint64(epoch)
	images, err := bpdbm.New(ctx, env.DB, env.Dir(ImagesDir))
	if err != nil {
		return err
	}
	requests, err := bprd.New(ctx, env, e, env.Dir(bprd.NeededDir))
	if err != nil {
		return err
	}
	emm, err := nbemm.New(ctx, env.DB)
	if err == nil {
		err = emm.Configure(ctx, nbemm.List{Units: h.cfg.Units, Groups: h.cfg.Groups})
	}
	if err != nil {
		return fmt.Errorf("media database: %w", err)
	}
	left, err := nbjm.Unfinished(ctx, env.DB)
	if err != nil {
		return fmt.Errorf("job database: %w", err)
	}
	jobs, list := nbjm.New(ctx, name, e, env.DB), bpjobd.New(ctx, env.DB)
	policies := nbpem.New(ctx, name, env.DB)
	for _, s := range []served{
		{bpjobd.Service, list.Mux(ctx, e)},
		{bpdbm.Service, images.Mux(ctx, e)},
		{nbproxy.Service, nbproxy.Mux(ctx, name, e)},
		{nbemm.Service, emm.Mux(ctx, e)},
		{nbrb.Service, nbrb.New(ctx, name).Mux(ctx, e)},
		{nbjm.Service, jobs.Mux(ctx)},
		{nbpem.Service, policies.Mux(ctx, e)},
		{bpcompatd.Service, bpcompatd.Mux(ctx, e)},
		{bprd.Service, requests.Mux(ctx)},
	} {
		if err := h.serve(ctx, s.service, s.mux); err != nil {
			return err
		}
	}
	if err := jobs.Recover(ctx, left); err != nil {
		return fmt.Errorf("ending the jobs of before the restart: %w", err)
	}
	images.StartCleanup(ctx, name)
	list.StartCleanup(ctx)
	if err := policies.Start(ctx); err != nil {
		return fmt.Errorf("policies: %w", err)
	}
	for _, p := range h.cfg.Policies {
		if err := policies.PutNew(ctx, p); err != nil {
			return fmt.Errorf("policy %s: %w", p.Name, err)
		}
	}
	return nil
}

func (h *hosting) media(ctx context.Context) error {
	env := h.env
	devices := ltid.New(ctx, env.Host, h.cfg.Master, env.Devices, h.cfg.Libraries, env.Log)
	for _, s := range []served{
		{txxcd.Service, txxcd.New(ctx, env.Devices).Mux(ctx)},
		{txxd.Service, txxd.Mux(ctx)},
		{avrd.Service, avrd.Mux(ctx, env.Host, env.Devices)},
		{ltid.Service, devices.Mux(ctx)},
		{bptm.Role, bptm.Service(ctx, env)},
	} {
		if err := h.serve(ctx, s.service, s.mux); err != nil {
			return err
		}
	}
	rt.Go(trace.WithRole(ctx, ltid.Service), "ltid start", func(ctx context.Context) {
		err := devices.Start(ctx, func(err error) {
			env.Log.Warn("the devices are not ready yet", "host", env.Host, "error", err)
		})
		_ = err // ctx has ended
	})
	return nil
}
