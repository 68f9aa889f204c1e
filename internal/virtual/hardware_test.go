package virtual

import (
	"context"

	"capstan/core/dev"
	"capstan/core/ltid"
	"capstan/hw/changer"
	"capstan/hw/tape"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

// bySCSI is a domain whose media server drives its library as it would one of
// hardware: by SCSI commands, to the virtual library's target. Its drives are
// configured in another order than they stand in, and found by their serial numbers.
func bySCSI(cfg Config) Config {
	l := &cfg.Libraries[0]
	l.Driver = func(ctx context.Context, lib *vtl.Library, server string) dev.Finder {
		t := target.New(ctx, lib, target.Options{EjectFirst: true})
		return &initiator{t, t.Nexus(server)}
	}
	l.Places = map[string]ltid.Place{}
	names := driveNames(&l.Config)
	for i, name := range names {
		l.Places[name] = ltid.Place{Serial: "VTL" + l.Config.Name + []string{"001", "002", "003", "004"}[len(names)-1-i]}
	}
	return cfg
}

// initiator gives the devices of a target by its host's nexus.
type initiator struct {
	target *target.Target
	nexus  *target.Nexus
}

// Drive opens the drive that has the name's serial number: the drives' own names in
// the library are in the order opposite to the configuration's.
func (i *initiator) Drive(ctx context.Context, name string) (dev.Drive, error) {
	units := i.target.Units()[1:]
	for n, u := range units {
		if u.Name == name {
			d, err := tape.Open(ctx, name, i.nexus.LUN(units[len(units)-1-n].LUN), tape.Options{})
			if err != nil {
				return nil, err
			}
			return d, nil
		}
	}
	return nil, &dev.Error{Device: name, Op: "open", Err: dev.ErrGone}
}

func (i *initiator) Changer(ctx context.Context, name string) (dev.Changer, error) {
	c, err := changer.Open(ctx, name, i.nexus.LUN(0), changer.Options{})
	if err != nil {
		return nil, err
	}
	return c, nil
}
