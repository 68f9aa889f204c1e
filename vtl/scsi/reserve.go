package target

// reserve answers RESERVE(6) and RESERVE(10) of the whole unit.
func (s *server) reserve(r *request) error {
	if r.cdb[1]&0x11 != 0 { // third party, extent
		return badField()
	}
	if s.persistent.registered() && !s.persistent.holds(r.lun.nexus.initiator) {
		return errConflict
	}
	if s.persistent.holds(r.lun.nexus.initiator) {
		return nil // SPC-5, 5.13.3: the reservation stays the persistent one
	}
	s.reserved = r.lun
	return nil
}

func (s *server) release(r *request) error {
	if s.reserved == r.lun {
		s.reserved = nil
	}
	return nil
}

// conflicts tells whether a reservation keeps an initiator from a command.
func (s *server) conflicts(l *LUN, c rule) bool {
	if c == free {
		return false
	}
	if s.reserved != nil && s.reserved != l {
		return true
	}
	return s.persistent.conflicts(l.nexus.initiator, c)
}
