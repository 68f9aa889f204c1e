// Package vtlserve offers a virtual tape library to other programs: over iSCSI to
// those that use tape, and over a Unix socket to the commands that disturb it, which
// is that of hw/vlib.
package vtlserve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"capstan/core/store"
	"capstan/hw/clock"
	"capstan/hw/dir"
	"capstan/hw/vlib"
	"capstan/vtl"
	"capstan/vtl/iscsi"
	target "capstan/vtl/scsi"
)

// Config says what is offered, and where.
type Config struct {
	Library vtl.Config
	// Dir holds the cartridges; it is made if it is not there. "" keeps them in memory.
	Dir    string
	Listen string // "192.0.2.1:3260"
	Socket string // for the commands that disturb the library
	// ISCSI is the target's configuration; its units and log are set here.
	ISCSI iscsi.Config
	Log   *slog.Logger
	// Started is called when initiators can log in.
	Started func(Offer)
}

// Offer is what initiators find.
type Offer struct {
	Target  string // the iSCSI name
	Address string // that is listened at
	Socket  string
	Units   []target.Unit
}

// Name is the iSCSI name of a library that was given none.
func Name(library string) string {
	return "iqn.2026-01.local.capstan:" + strings.ToLower(library)
}

// Run serves until ctx ends. When it returns, commands that had begun have ended
// and what was written is durable.
func Run(ctx context.Context, cfg *Config) error {
	var d store.Dir
	if cfg.Dir != "" {
		if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
			return fmt.Errorf("the directory of the cartridges: %w", err)
		}
		o, err := dir.Open(cfg.Dir)
		if err != nil {
			return fmt.Errorf("the directory of the cartridges: %w", err)
		}
		defer o.Close()
		d = o
	}
	control, err := vlib.Listen(cfg.Socket)
	if err != nil {
		return err
	}
	defer control.Close()
	portal, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return err
	}
	defer portal.Close()
	// The library's tasks outlive ctx: until the target has ended they answer.
	task := clock.Context(context.WithoutCancel(ctx), "library")
	lib, err := vtl.New(task, cfg.Library, vtl.Options{Dir: d})
	if err != nil {
		return err
	}
	units := target.New(task, lib, target.Options{})
	c := cfg.ISCSI
	c.Units, c.Log = iscsi.Library(units), cfg.Log
	t, err := iscsi.New(task, c)
	if err != nil {
		return errors.Join(err, lib.Close(task))
	}
	k := &controller{lib: lib, units: units, log: cfg.Log}
	k.serve(task, control)
	cfg.Started(Offer{Target: c.Name, Address: portal.Addr().String(), Socket: cfg.Socket, Units: units.Units()})
	err = t.Serve(ctx, portal)
	control.Close()
	k.running.Wait()
	return errors.Join(err, lib.Close(task))
}
