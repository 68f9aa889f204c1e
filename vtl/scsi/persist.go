package target

import (
	"encoding/binary"
	"slices"
	"strings"

	"capstan/core/dev"
	"capstan/core/scsi"
)

// Reservation types (SPC-5 table 62).
const (
	writeExclusive            = 1
	exclusiveAccess           = 3
	writeExclusiveRegistrants = 5
	exclusiveRegistrants      = 6
	writeExclusiveAll         = 7
	exclusiveAll              = 8
)

// maxRegistrations bounds the registrations of one unit.
const maxRegistrations = 64

// registration is one initiator's key. It outlives the nexus.
type registration struct {
	initiator string
	key       uint64
}

// persistent is a unit's persistent reservation (SPC-5, 5.13). It is lost with
// the process: persistence through a power loss is refused.
type persistent struct {
	generation uint32
	keys       []registration
	kind       byte   // of the reservation; 0 is none
	holder     string // who has it; of the kinds for all registrants, anyone
}

func (p *persistent) registered() bool { return len(p.keys) > 0 }

// key is an initiator's registered key.
func (p *persistent) key(initiator string) (uint64, bool) {
	for _, k := range p.keys {
		if k.initiator == initiator {
			return k.key, true
		}
	}
	return 0, false
}

// all tells whether every registrant holds the reservation.
func (p *persistent) all() bool { return p.kind == writeExclusiveAll || p.kind == exclusiveAll }

// holds tells whether an initiator holds the reservation.
func (p *persistent) holds(initiator string) bool {
	_, known := p.key(initiator)
	return p.kind != 0 && known && (p.all() || p.holder == initiator)
}

// conflicts tells whether the reservation keeps an initiator from a command.
func (p *persistent) conflicts(initiator string, c rule) bool {
	if p.kind == 0 || p.holds(initiator) {
		return false
	}
	_, known := p.key(initiator)
	switch p.kind {
	case writeExclusive:
		return c == writing
	case exclusiveAccess:
		return true
	case writeExclusiveRegistrants, writeExclusiveAll:
		return c == writing && !known
	}
	return !known
}

// prHeader is the generation and the length of what follows.
func (p *persistent) header(data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, p.generation)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

func prAlloc(r *request) int { return int(binary.BigEndian.Uint16(r.cdb[7:])) }

func (s *server) readKeys(r *request) error {
	var keys []byte
	for _, k := range s.persistent.keys {
		keys = binary.BigEndian.AppendUint64(keys, k.key)
	}
	return r.reply(s.persistent.header(keys), prAlloc(r))
}

func (s *server) readReservation(r *request) error {
	p := &s.persistent
	var d []byte
	if p.kind != 0 {
		d = make([]byte, 16)
		if !p.all() {
			key, _ := p.key(p.holder)
			binary.BigEndian.PutUint64(d, key)
		}
		d[13] = p.kind
	}
	return r.reply(p.header(d), prAlloc(r))
}

func (s *server) reportCapabilities(r *request) error {
	// CRH: RESERVE and RELEASE of a registrant are let through. TMV: the mask of types counts.
	return r.reply([]byte{0, 8, 0x10, 0x80, 0xEA, 0x01, 0, 0}, prAlloc(r))
}

func (s *server) readFullStatus(r *request) error {
	p := &s.persistent
	var all []byte
	for _, k := range p.keys {
		d := make([]byte, 24)
		binary.BigEndian.PutUint64(d, k.key)
		if p.holds(k.initiator) {
			d[12], d[13] = 0x01, p.kind
		}
		d[19] = 1 // relative target port
		id := transportID(k.initiator)
		binary.BigEndian.PutUint32(d[20:], uint32(len(id)))
		all = append(append(all, d...), id...)
	}
	return r.reply(p.header(all), prAlloc(r))
}

// transportID is an initiator's name as iSCSI gives it (SPC-5, 7.6.4.6), padded
// to a multiple of four.
func transportID(name string) []byte {
	name = name[:min(len(name), 223)]
	n := max((len(name)+4)/4*4, 20)
	b := make([]byte, 4+n)
	b[0] = 0x05 // a device's name
	if strings.Contains(name, ",i,0x") {
		b[0] |= 0x40 // a port's
	}
	binary.BigEndian.PutUint16(b[2:], uint16(n))
	copy(b[4:], name)
	return b
}

// prOrder is the parameter list of PERSISTENT RESERVE OUT.
type prOrder struct {
	key, action uint64
	kind        byte
}

// prOut answers every service action of PERSISTENT RESERVE OUT.
func (s *server) prOut(r *request) error {
	n := int(binary.BigEndian.Uint32(r.cdb[5:]))
	if n != 24 {
		return badListLen()
	}
	b, err := r.list(n)
	if err != nil {
		return err
	}
	o := prOrder{key: binary.BigEndian.Uint64(b), action: binary.BigEndian.Uint64(b[8:]), kind: r.cdb[2] & 0x0F}
	if b[20]&0x0D != 0 { // all target ports, persist through power loss, specified initiators
		return badList()
	}
	if s.reserved != nil && s.reserved != r.lun {
		return errConflict
	}
	action := r.cdb[1] & 0x1F
	if action == 0 || action == 6 {
		return s.prRegister(r.lun, o, action == 6)
	}
	key, known := s.persistent.key(r.lun.nexus.initiator)
	if !known || key != o.key {
		return errConflict
	}
	if r.cdb[2]>>4 != 0 {
		return badField() // the scope is the unit
	}
	switch action {
	case 1:
		return s.prReserve(r.lun, o)
	case 2:
		return s.prRelease(r.lun, o)
	case 3:
		return s.prClear(r.lun)
	}
	return s.prPreempt(r.lun, o)
}

func (s *server) prRegister(l *LUN, o prOrder, ignore bool) error {
	p, name := &s.persistent, l.nexus.initiator
	key, known := p.key(name)
	if !ignore && key != o.key {
		return errConflict // of one that is not registered, the key is 0
	}
	switch {
	case o.action == 0 && !known:
		return nil
	case o.action == 0:
		s.forget(name)
	case known:
		for i := range p.keys {
			if p.keys[i].initiator == name {
				p.keys[i].key = o.action
			}
		}
	case len(p.keys) >= maxRegistrations:
		return sense(scsi.IllegalRequest, 0x55, 0x04) // insufficient registration resources
	default:
		p.keys = append(p.keys, registration{name, o.action})
	}
	p.generation++
	return nil
}

// forget removes a registration, and the reservation that goes with it.
func (s *server) forget(name string) {
	p := &s.persistent
	held := p.holds(name)
	p.keys = slices.DeleteFunc(p.keys, func(k registration) bool { return k.initiator == name })
	if held && (!p.all() || len(p.keys) == 0) {
		s.drop(nil)
	}
}

// drop ends the reservation. Other registrants of the kinds for registrants are told.
func (s *server) drop(by *LUN) {
	p := &s.persistent
	tell := p.kind >= writeExclusiveRegistrants
	p.kind, p.holder = 0, ""
	if tell {
		s.tell(released, by)
	}
}

// tell owes a unit attention to registrants but one.
func (s *server) tell(a dev.Sense, but *LUN) {
	for _, n := range s.target.all() {
		l := n.luns[s.number]
		if _, known := s.persistent.key(n.initiator); known && l != but {
			l.owe(a)
		}
	}
}

func kindOK(k byte) bool {
	return k == writeExclusive || k == exclusiveAccess || (k >= writeExclusiveRegistrants && k <= exclusiveAll)
}

func (s *server) prReserve(l *LUN, o prOrder) error {
	p, name := &s.persistent, l.nexus.initiator
	switch {
	case !kindOK(o.kind):
		return badField()
	case p.kind == 0:
		p.kind, p.holder = o.kind, name
		return nil
	case p.holds(name) && p.kind == o.kind:
		return nil
	}
	return errConflict
}

func (s *server) prRelease(l *LUN, o prOrder) error {
	p := &s.persistent
	switch {
	case !p.holds(l.nexus.initiator):
		return nil
	case p.kind != o.kind:
		return sense(scsi.IllegalRequest, 0x26, 0x04) // invalid release of persistent reservation
	}
	s.drop(l)
	return nil
}

func (s *server) prClear(l *LUN) error {
	p := &s.persistent
	s.tell(preempted, l)
	p.keys, p.kind, p.holder = nil, 0, ""
	p.generation++
	return nil
}

// prPreempt takes the registrations with a key away, and the reservation if one
// of them held it. Aborting needs nothing more: one command runs at a time.
func (s *server) prPreempt(l *LUN, o prOrder) error {
	p, name := &s.persistent, l.nexus.initiator
	if !kindOK(o.kind) {
		return badField()
	}
	everyone := p.kind != 0 && p.all() && o.action == 0
	if o.action == 0 && !everyone {
		return badList()
	}
	takes := everyone
	var gone []string
	for _, k := range p.keys {
		if k.key != o.action && !everyone {
			continue
		}
		takes = takes || p.kind != 0 && !p.all() && p.holder == k.initiator
		if k.initiator != name {
			gone = append(gone, k.initiator)
		}
	}
	if len(gone) == 0 && !takes {
		return errConflict
	}
	p.keys = slices.DeleteFunc(p.keys, func(k registration) bool { return slices.Contains(gone, k.initiator) })
	for _, n := range s.target.all() {
		if slices.Contains(gone, n.initiator) {
			n.luns[s.number].owe(unregistered)
		}
	}
	if takes {
		old := p.kind
		p.kind, p.holder = o.kind, name
		if old != o.kind {
			s.tell(released, l)
		}
	}
	p.generation++
	return nil
}
