package catalog

// rowSum is a checksum over entries in order.
type rowSum struct {
	n   int64
	sum uint64
}

func (s *rowSum) add(e *Entry) {
	dir, name := split(e.Path)
	mixEntry(s, dir, name, e.Link, e)
}

func mixEntry[A, B text](s *rowSum, dir, name A, link B, e *Entry) {
	h := mixText(mixText(mixText(s.sum, dir), name), link)
	for _, v := range [...]uint64{
		uint64(e.Type) | uint64(e.Damage)<<8 | uint64(e.Mode)<<16 | uint64(e.UID)<<32, uint64(e.GID) | uint64(e.CRC)<<32,
		uint64(e.Size), uint64(e.MTime), uint64(e.CTime), uint64(e.Major) | uint64(e.Minor)<<32,
		e.Dev, e.Ino, e.XHash, uint64(e.Offset), uint64(e.HeadLen), uint64(e.DataLen), uint64(e.Count),
	} {
		h = mix(h, v)
	}
	s.n, s.sum = s.n+1, h
}

// mix is one step of a multiplicative hash; the factor is the golden ratio's.
func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}

func mixText[T text](h uint64, s T) uint64 {
	h = mix(h, uint64(len(s)))
	i := 0
	for ; i+8 <= len(s); i += 8 {
		h = mix(h, word(s[i:i+8]))
	}
	for ; i < len(s); i++ {
		h = mix(h, uint64(s[i]))
	}
	return h
}
