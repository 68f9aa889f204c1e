package tape

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/core/stream"
)

// unit is a tape drive in memory that can be told what not to do and how to fail: what
// the virtual library does not do because it does it right.
type unit struct {
	objects  [][]byte // nil is a filemark
	pos      int
	present  bool // a medium is in it
	loaded   bool
	worm     bool
	attended []scsi.Sense // unit attentions that wait

	lacks    map[byte]bool // operation codes
	noList   bool          // REPORT SUPPORTED OPERATION CODES too
	mute     bool          // READ POSITION never knows
	still    bool          // READ POSITION says 0, always, and not that it is the beginning
	numb     bool          // MODE SELECT takes no page
	noShort  bool          // the residue of a short READ is not told by sense data
	partial  bool          // of a short block so much comes as is missing
	faults   []fault
	mode     []byte // the compression page
	block    uint32
	buffered byte
	protect  []byte // the control data protection page; nil if it has none
	key      []byte
	keys     int // how often a key was set
	plain    int // blocks that were written without a key
	sent     []byte
	null     bool // keeps nothing
}

// fault ends the next command of an operation code.
type fault struct {
	code   byte
	skip   int
	sense  scsi.Sense
	status scsi.Status
	err    error
	done   bool // it was carried out before
	again  int  // so many more
	lost   int  // bytes that the transport says were not moved of a command that went well
	then   func(u *unit)
}

func newUnit() *unit {
	return &unit{
		present: true, loaded: true, mode: []byte{0x0F, 14, 0xC0, 0x80, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0},
		protect: []byte{0x4A, 0xF0, 0, 4, 0, 0, 0, 0}, block: 512, lacks: map[byte]bool{},
	}
}

func (u *unit) Close() error { return nil }

func check(key, asc, ascq uint8) *scsi.Sense {
	return &scsi.Sense{Sense: dev.Sense{Key: key, ASC: asc, ASCQ: ascq}}
}

func (u *unit) Do(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	if err := ctx.Err(); err != nil {
		return scsi.Result{}, err
	}
	code := c.CDB[0]
	u.sent = append(u.sent, code)
	if code != scsi.Inquiry && len(u.attended) > 0 {
		s := u.attended[0]
		u.attended = u.attended[1:]
		return scsi.Result{Status: scsi.CheckCondition, Sense: s.Fixed()}, nil
	}
	if f := u.fault(code); f != nil {
		if f.done {
			if r, err := u.serve(c); err != nil || r.Status != scsi.Good {
				return r, err
			}
		}
		if f.then != nil {
			f.then(u)
		}
		switch {
		case f.lost > 0:
			return scsi.Result{N: len(c.Out) + len(c.In) - f.lost}, nil
		case f.err != nil:
			return scsi.Result{}, f.err
		case f.status != 0:
			return scsi.Result{Status: f.status}, nil
		}
		r := scsi.Result{Status: scsi.CheckCondition, Sense: f.sense.Fixed()}
		if f.done {
			r.N = len(c.Out) + len(c.In)
		}
		return r, nil
	}
	return u.serve(c)
}

func (u *unit) fault(code byte) *fault {
	for i := range u.faults {
		f := &u.faults[i]
		if f.code != code {
			continue
		}
		if f.skip > 0 {
			f.skip--
			return nil
		}
		hit := *f
		if f.again--; f.again < 0 {
			u.faults = slices.Delete(u.faults, i, i+1)
		}
		return &hit
	}
	return nil
}

func (u *unit) serve(c *scsi.Command) (scsi.Result, error) {
	n, s := u.command(c)
	r := scsi.Result{N: n}
	if s != nil {
		r.Status, r.Sense = scsi.CheckCondition, s.Fixed()
	}
	return r, nil
}

func (u *unit) command(c *scsi.Command) (int, *scsi.Sense) {
	code := c.CDB[0]
	if u.lacks[code] || (u.noList && code == scsi.MaintenanceIn) {
		return 0, check(scsi.IllegalRequest, 0x20, 0)
	}
	switch code {
	case scsi.Inquiry:
		b := make([]byte, 36)
		b[0], b[4] = byte(scsi.Sequential), 31
		copy(b[8:], "CAPSTAN TEST DRIVE      1   ")
		return copy(c.In, b), nil
	case scsi.ReadBlockLimits:
		return copy(c.In, []byte{0, 0x80, 0, 0, 0, 1}), nil
	case scsi.MaintenanceIn:
		return copy(c.In, u.opcodes()), nil
	case scsi.ModeSense10:
		return u.modeSense(c)
	case scsi.ModeSelect10:
		return u.modeSelect(c)
	case scsi.SecurityProtocolIn, scsi.SecurityProtocolOut:
		return u.security(c)
	case scsi.LoadUnload:
		if !u.present {
			return 0, check(scsi.NotReady, 0x3A, 0)
		}
		u.loaded, u.pos = c.CDB[4]&1 != 0, 0
		if !u.loaded {
			u.key = nil
		}
		return 0, nil
	}
	switch {
	case !u.present:
		return 0, check(scsi.NotReady, 0x3A, 0)
	case !u.loaded:
		return 0, check(scsi.NotReady, 0x04, 0x02)
	}
	return u.onMedium(c)
}

func (u *unit) onMedium(c *scsi.Command) (int, *scsi.Sense) {
	count := int(c.CDB[2])<<16 | int(c.CDB[3])<<8 | int(c.CDB[4])
	switch c.CDB[0] {
	case scsi.TestUnitReady:
		return 0, nil
	case scsi.Rewind:
		u.pos = 0
		return 0, nil
	case scsi.Write6:
		return u.write(c.Out)
	case scsi.Read6:
		return u.read(c.In)
	case scsi.WriteFilemarks6:
		for range count {
			u.put(nil)
		}
		return 0, nil
	case scsi.Erase6:
		u.objects = u.objects[:u.pos]
		return 0, nil
	case scsi.ReadPosition:
		return u.position(c)
	case scsi.Locate16, scsi.Locate10:
		to := uint64(binary.BigEndian.Uint32(c.CDB[3:]))
		if c.CDB[0] == scsi.Locate16 {
			to = binary.BigEndian.Uint64(c.CDB[4:])
		}
		u.pos = int(min(to, uint64(len(u.objects))))
		if to > uint64(len(u.objects)) {
			return 0, check(scsi.BlankCheck, 0, 5)
		}
		return 0, nil
	case scsi.Space6:
		return 0, u.space(c.CDB[1]&7, int(int32(count<<8)>>8))
	}
	return 0, check(scsi.IllegalRequest, 0x20, 0)
}

func (u *unit) put(b []byte) {
	if u.null {
		u.pos++
		return
	}
	u.objects = append(u.objects[:u.pos:u.pos], b)
	u.pos++
}

func (u *unit) guarded() bool {
	return u.protect != nil && u.protect[4] == 2 && u.protect[6]&0xC0 == 0xC0
}

func (u *unit) write(b []byte) (int, *scsi.Sense) {
	n := len(b)
	if u.block != 0 {
		return 0, check(scsi.IllegalRequest, 0x24, 0)
	}
	if u.guarded() {
		if n <= 4 || crc32.Checksum(b[:n-4], stream.Castagnoli) != binary.LittleEndian.Uint32(b[n-4:]) {
			return 0, check(scsi.HardwareError, 0x10, 1)
		}
		b = b[:n-4]
	}
	if u.null {
		u.pos++
		return n, nil
	}
	if u.key == nil {
		u.plain++
	}
	u.put(append([]byte{}, b...))
	return n, nil
}

func (u *unit) read(in []byte) (int, *scsi.Sense) {
	if u.pos == len(u.objects) {
		return 0, check(scsi.BlankCheck, 0, 5)
	}
	b := u.objects[u.pos]
	u.pos++
	if b == nil {
		s := check(0, 0, 1)
		s.Filemark = true
		return 0, s
	}
	if u.guarded() {
		b = binary.LittleEndian.AppendUint32(append([]byte{}, b...), crc32.Checksum(b, stream.Castagnoli))
	}
	n := copy(in, b)
	if len(b) == len(in) || (u.noShort && len(b) < len(in)) {
		return n, nil
	}
	s := check(0, 0, 0)
	s.ILI, s.Valid, s.Information = true, true, int64(len(in)-len(b))
	if u.partial && len(b) < len(in) {
		n = min(n, len(in)-len(b))
		clear(in[n:])
	}
	return n, s
}

func (u *unit) space(code byte, n int) *scsi.Sense {
	if code == spaceEnd {
		u.pos = len(u.objects)
		return nil
	}
	if code == spaceBlocks {
		u.pos += n
		return nil
	}
	for ; n > 0; n-- {
		for u.pos < len(u.objects) && u.objects[u.pos] != nil {
			u.pos++
		}
		if u.pos == len(u.objects) {
			return check(scsi.BlankCheck, 0, 5)
		}
		u.pos++
	}
	for ; n < 0; n++ {
		for u.pos > 0 && u.objects[u.pos-1] != nil {
			u.pos--
		}
		if u.pos == 0 {
			s := check(0, 0, 4)
			s.EOM = true
			return s
		}
		u.pos--
	}
	return nil
}

func (u *unit) position(c *scsi.Command) (int, *scsi.Sense) {
	long := c.CDB[1] == 6
	b := make([]byte, 20)
	if long {
		b = make([]byte, 32)
	}
	at, files := u.pos, 0
	if !u.null {
		for _, o := range u.objects[:u.pos] {
			if o == nil {
				files++
			}
		}
	}
	if u.still {
		at, files = 0, 0
	}
	switch {
	case u.mute:
		b[0] = 0x14
	case long:
		binary.BigEndian.PutUint64(b[8:], uint64(at))
		binary.BigEndian.PutUint64(b[16:], uint64(files))
	default:
		binary.BigEndian.PutUint32(b[4:], uint32(at))
	}
	if at == 0 && !u.mute && !u.still {
		b[0] |= 0x80
	}
	return copy(c.In, b), nil
}

func (u *unit) modeSense(c *scsi.Command) (int, *scsi.Sense) {
	var page []byte
	switch {
	case c.CDB[2]&0x3F == 0:
	case c.CDB[2]&0x3F == 0x0F && u.mode != nil:
		page = u.mode
	case c.CDB[2]&0x3F == 0x0A && c.CDB[3] == 0xF0 && u.protect != nil:
		page = u.protect
	case c.CDB[2]&0x3F == 0x1D && u.worm:
		page = []byte{0x1D, 30, 1, 0, 1, 1, 31: 0}
	default:
		return 0, check(scsi.IllegalRequest, 0x24, 0)
	}
	b := []byte{0, byte(14 + len(page)), 0, u.buffered << 4, 0, 0, 0, 8, 0x60, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(b[12:], u.block)
	return copy(c.In, append(b, page...)), nil
}

func (u *unit) modeSelect(c *scsi.Command) (int, *scsi.Sense) {
	b := c.Out
	if u.numb && len(b) > 16 {
		return 0, check(scsi.IllegalRequest, 0x26, 0)
	}
	u.buffered, u.block = b[3]>>4&7, binary.BigEndian.Uint32(b[12:])
	switch page := b[16:]; {
	case len(page) == 0:
	case page[0]&0x3F == 0x0F:
		u.mode = append([]byte{}, page...)
	case page[0]&0x3F == 0x0A:
		u.protect = append([]byte{}, page...)
	}
	return len(b), nil
}

func (u *unit) security(c *scsi.Command) (int, *scsi.Sense) {
	if c.CDB[0] == scsi.SecurityProtocolOut {
		u.key = append([]byte(nil), c.Out[20:]...)
		if len(u.key) == 0 {
			u.key = nil
		}
		u.keys++
		return len(c.Out), nil
	}
	if c.CDB[3] == 0x20 {
		b := make([]byte, 24)
		b[1], b[3] = 0x20, 20
		if u.key != nil {
			b[4], b[5], b[6], b[7] = 0x42, 2, 3, 1
		}
		return copy(c.In, b), nil
	}
	b := make([]byte, 44)
	b[1], b[3] = 0x10, 40
	b[20], b[23], b[24], b[31] = 1, 20, 0x0A, 32
	binary.BigEndian.PutUint32(b[40:], 0x00010014)
	return copy(c.In, b), nil
}

func (u *unit) opcodes() []byte {
	b := make([]byte, 4)
	for _, code := range []byte{
		scsi.TestUnitReady, scsi.Rewind, scsi.Inquiry, scsi.ReadBlockLimits, scsi.Read6, scsi.Write6, scsi.WriteFilemarks6, scsi.Space6,
		scsi.ModeSelect10, scsi.ModeSense10, scsi.LoadUnload, scsi.ReadPosition, scsi.Locate10, scsi.Locate16, scsi.Erase6,
		scsi.SecurityProtocolIn, scsi.SecurityProtocolOut, scsi.MaintenanceIn,
	} {
		if !u.lacks[code] {
			b = append(b, code, 0, 0, 0, 0, 0, 0, 6)
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}
