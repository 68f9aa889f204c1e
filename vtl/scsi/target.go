package target

import (
	"context"
	"slices"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/scsi"
	"capstan/vtl"
)

// Options are what a target may do in one way or another, as real libraries do.
type Options struct {
	// EjectFirst has the robot refuse (5/53/01) to take a cartridge out of a drive
	// that has not ejected it; otherwise it has the drive unload.
	EjectFirst bool
	// StayUnloaded has a drive wait for LOAD after the robot put a cartridge in;
	// otherwise it loads by itself.
	StayUnloaded bool
}

// Target is a virtual library that SCSI initiators can use.
type Target struct {
	lib     *vtl.Library
	opts    Options
	servers []*server // by LUN
	changer *changer
	tapes   []*tape

	lock       rt.Lock // guards what follows
	nexuses    []*Nexus
	injections []*Injection
}

// New makes the target of a library. It has no tasks of its own and nothing to
// close; its units answer [dev.ErrGone] after the library was closed.
func New(ctx context.Context, lib *vtl.Library, opts Options) *Target {
	t := &Target{lib: lib, opts: opts, lock: rt.NewLock(ctx)}
	for _, d := range lib.Decks() {
		t.tapes = append(t.tapes, newTape(t, d))
	}
	t.changer = newChanger(t)
	t.servers = append(t.servers, &t.changer.server)
	for i, u := range t.tapes {
		u.number = i + 1
		t.servers = append(t.servers, &u.server)
	}
	return t
}

// Unit describes a logical unit.
type Unit struct {
	LUN    uint64
	Type   scsi.DeviceType
	Name   string // of the device in the library
	Serial string
}

// Units are the logical units, by LUN.
func (t *Target) Units() []Unit {
	var all []Unit
	for i, s := range t.servers {
		all = append(all, Unit{LUN: uint64(i), Type: s.kind, Name: s.name, Serial: s.serial})
	}
	return all
}

// Nexus is one initiator's relation to the target (I_T nexus). What the units owe
// to the initiator, unit attentions first, is kept in it.
type Nexus struct {
	target    *Target
	initiator string
	luns      []*LUN
}

// Nexus is the nexus of an initiator, made at its first use: its units then say
// 29/00, power on. The name is the initiator port's, as the wire tells it.
func (t *Target) Nexus(initiator string) *Nexus {
	t.lock.Lock()
	defer t.lock.Unlock()
	for _, n := range t.nexuses {
		if n.initiator == initiator {
			return n
		}
	}
	n := &Nexus{target: t, initiator: initiator}
	for _, s := range t.servers {
		n.luns = append(n.luns, &LUN{nexus: n, server: s, attentions: []dev.Sense{powerOn}})
	}
	t.nexuses = append(slices.Clip(t.nexuses), n)
	return n
}

// Initiator is the name that the nexus was made with.
func (n *Nexus) Initiator() string { return n.initiator }

// LUN is a logical unit of the nexus. One that does not exist answers as SPC-5
// says: INQUIRY tells that there is no device, others 5/25/00.
func (n *Nexus) LUN(lun uint64) *LUN {
	if lun < uint64(len(n.luns)) {
		return n.luns[lun]
	}
	return &LUN{nexus: n, missing: true}
}

// Lost ends the nexus: its reservations of the old kind and its prevention of
// removal are gone; persistent ones stay. A later Nexus of the name is a new one.
func (n *Nexus) Lost(ctx context.Context) error {
	t := n.target
	t.lock.Lock()
	t.nexuses = slices.DeleteFunc(slices.Clone(t.nexuses), func(o *Nexus) bool { return o == n })
	t.lock.Unlock()
	for _, l := range n.luns {
		if err := l.server.task(ctx, func(context.Context) error { l.leave(); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// Reset is a reset of the whole target (TARGET WARM RESET): of each unit.
func (t *Target) Reset(ctx context.Context) error {
	for _, s := range t.servers {
		if err := s.reset(ctx, busReset); err != nil {
			return err
		}
	}
	return nil
}

// Reset is a logical unit reset. Commands that have begun end first; medium and
// position stay, as does what was written.
func (l *LUN) Reset(ctx context.Context) error {
	if l.missing {
		return nil
	}
	return l.server.reset(ctx, unitReset)
}

// all are the nexuses that there are.
func (t *Target) all() []*Nexus {
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.nexuses
}
