package iscsi

import (
	"context"

	target "capstan/vtl/scsi"
)

// Library serves the logical units of a virtual library.
func Library(t *target.Target) Units { return library{t} }

type library struct{ t *target.Target }

func (l library) Nexus(initiator string) Nexus    { return nexus{l.t.Nexus(initiator)} }
func (l library) Reset(ctx context.Context) error { return l.t.Reset(ctx) }

type nexus struct{ n *target.Nexus }

func (n nexus) LUN(lun uint64) Unit            { return n.n.LUN(lun) }
func (n nexus) Lost(ctx context.Context) error { return n.n.Lost(ctx) }
