package target

import (
	"encoding/binary"
)

// generation is what codes tell about a generation of LTO.
type generation struct {
	density byte
	medium  byte // the medium type of the mode parameter header
	bpmm    int  // bits per mm
	tracks  int
	name    string // of the density
	license string // code of the volume's licence
}

// generationOf has the codes of LTO-5 to LTO-10 (T10, density codes; IBM LTO SCSI
// reference, REPORT DENSITY SUPPORT). ASSUMED for LTO-10, but for its density code: those
// before it go on.
func generationOf(n int) generation {
	switch n {
	case 5:
		return generation{0x58, 0x58, 15142, 1280, "U-516", "U516"}
	case 6:
		return generation{0x5A, 0x68, 15143, 2176, "U-616", "U616"}
	case 7:
		return generation{0x5C, 0x78, 19107, 3584, "U-732", "U732"}
	case 8:
		return generation{0x5E, 0x88, 20668, 6656, "U-832", "U832"}
	case 9:
		return generation{0x60, 0x98, 21450, 8960, "U-932", "U932"}
	case 10:
		return generation{0x62, 0xA8, 21206, 15104, "U-1032", "UA32"}
	}
	return generation{}
}

// modePages are a drive's mode pages.
func (u *tape) modePages() []*modePage {
	return []*modePage{
		page(0x01, 0, []byte{0x00, 0x03, 0, 0, 0, 0, 0x03, 0, 0, 0}, []byte{0x3F}), // read-write error recovery
		page(0x02, 0, make([]byte, 14), nil),                                       // disconnect-reconnect
		controlPage(),
		protectionPage(),
		// data compression: DCE, DCC; DDE; the algorithms are unknown ones
		page(0x0F, 0, []byte{0x40, 0x80, 0, 0, 0, 0x10, 0, 0, 0, 0x10, 0, 0, 0, 0}, []byte{0x80, 0x80, 0xFF, 0xFF, 0xFF, 0xFF}),
		// device configuration: BIS; EOD as default; select data compression
		page(0x10, 0, []byte{0, 0, 0, 0, 0x05, 0x14, 0x40, 0, 0x18, 0, 0, 0, 0x01, 0}, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0x08, 0, 0, 0, 0xFF}),
		// its extension: PEWS in bytes 6 and 7, write mode in byte 5
		page(0x10, 0x01, make([]byte, 28), []byte{0, 0x01, 0xFF, 0xFF}),
		page(0x11, 0, []byte{0x00, 0x00, 0x1C, 0x03, 0, 0, 0, 0}, nil), // one partition
		page(0x1C, 0, []byte{0x08, 0x03, 0, 0, 0, 0, 0, 0, 0, 0x01}, []byte{0xFF, 0x0F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}),
		page(0x1D, 0, make([]byte, 30), nil), // medium configuration: WORM
	}
}

// programmable is the early warning that the host asked for, in bytes.
func (u *tape) programmable() int64 {
	return int64(binary.BigEndian.Uint16(u.page(0x10, 1).current[6:])) * 1e6
}

func (u *tape) mediumType() byte {
	m, ok := u.deck.Medium()
	if !ok {
		return 0
	}
	t := generationOf(m.Model.Generation).medium
	if m.WORM {
		t |= 0x04
	}
	return t
}

// deviceSpecific has the write protection and the buffered mode.
func (u *tape) deviceSpecific() byte {
	b := byte(0x10)
	if u.unbuffered {
		b = 0
	}
	if m, ok := u.deck.Medium(); ok && m.Protected {
		b |= 0x80
	}
	return b
}

// look has the medium configuration page tell what the medium is.
func (u *tape) look() {
	worm := byte(0)
	if m, ok := u.deck.Medium(); ok && m.WORM {
		worm = 0x01
	}
	u.page(0x1D, 0).current[2] = worm
}

func (u *tape) descriptor() []byte {
	b := make([]byte, 8)
	if m, ok := u.deck.Medium(); ok {
		b[0] = generationOf(m.Model.Generation).density
	}
	b[5], b[6], b[7] = byte(u.blockLength>>16), byte(u.blockLength>>8), byte(u.blockLength)
	return b
}

func (u *tape) changed() {
	if u.protection()[0] > methodCRC32C {
		u.protection()[0] = methodNone
	}
}

// accept takes the buffered mode and the block length; the density stays that of
// the medium.
func (u *tape) accept(specific byte, d []byte) error {
	mode := specific >> 4 & 0x07
	if mode > 1 || specific&0x0F > 1 {
		return badList()
	}
	if len(d) == 0 {
		u.unbuffered = mode == 0
		return nil
	}
	if len(d) != 8 {
		return badList()
	}
	if c := d[0]; c != 0 && c != 0x7F && c != u.descriptor()[0] {
		return badList()
	}
	n := int(d[5])<<16 | int(d[6])<<8 | int(d[7])
	if n > u.mostBytes() {
		return badList()
	}
	u.blockLength, u.unbuffered = n, mode == 0
	return nil
}

// vitalTape are the vital product data pages of a drive.
func (u *tape) vitalTape() []vitalPage {
	return []vitalPage{
		{0xB0, func() []byte { return []byte{0x01, 0} }},                       // WORM is known
		{0xB1, func() []byte { return []byte(u.serial) }},                      // manufacturer-assigned serial number
		{0xB3, func() []byte { return []byte(serialOf(u.target.lib.Name())) }}, // the automation device's
		{0xB5, func() []byte { // logical block protection: two methods of 4 bytes
			return []byte{0, 0, 0, 0, 8, methodReedSolomon, guardLength, 0xC0, 0, 0, 0, 0, 0, 8, methodCRC32C, guardLength, 0xC0, 0, 0, 0, 0, 0}
		}},
	}
}

// logPages are a drive's log pages.
func (u *tape) logPages() []logPage {
	return []logPage{
		{0x02, func() []byte { return u.errorCounters(u.counters.writeErrors, u.counters.bytesToMedium) }},
		{0x03, func() []byte { return u.errorCounters(u.counters.readErrors, u.counters.bytesFromMedium) }},
		{0x0C, u.sequentialLog},
		{0x11, u.activity},
		{0x12, u.alertResponse},
		{0x17, u.volumeStatistics},
		{0x2E, u.tapeAlert},
		{0x31, u.capacityLog},
		{0x32, u.compressionLog},
	}
}

func (u *tape) errorCounters(errors, bytes int64) []byte {
	var b []byte
	for code := uint16(0); code < 5; code++ {
		b = parameter(b, code, 4, 0)
	}
	b = parameter(b, 5, 8, uint64(bytes))
	return parameter(b, 6, 4, uint64(errors))
}

// sequentialLog is page 0Ch.
func (u *tape) sequentialLog() []byte {
	c := &u.counters
	b := parameter(nil, 0, 8, uint64(c.bytesFromHost))
	b = parameter(b, 1, 8, uint64(c.bytesToMedium))
	b = parameter(b, 2, 8, uint64(c.bytesFromMedium))
	b = parameter(b, 3, 8, uint64(c.bytesToHost))
	if m, ok := u.deck.Medium(); ok && u.ready() == nil {
		b = parameter(b, 4, 4, uint64(m.Used/1e6))                 // from the beginning to the end of data
		b = parameter(b, 5, 4, uint64((m.Capacity-m.Reserve)/1e6)) // to early warning
		b = parameter(b, 6, 4, uint64(m.Reserve/1e6))              // from there to the end
		b = parameter(b, 7, 4, uint64(u.deck.Place().Bytes/1e6))   // from the beginning to the position
	}
	need := uint64(0)
	if u.deck.CleaningNeeded() {
		need = 1
	}
	return parameter(b, 0x100, 4, need)
}

// activity is page 11h: very high frequency data (SSC-5; ADC-4, 6.1.2.2), by
// which the drive's state is told without waiting for it.
func (u *tape) activity() []byte {
	v := []byte{0, 0, 0, 0}
	m, ok := u.deck.Medium()
	set := func(on bool, at int, bit byte) {
		if on {
			v[at] |= bit
		}
	}
	loaded := ok && u.ready() == nil
	set(len(u.preventing) > 0, 0, 0x80)   // PAMR
	set(ok, 0, 0x20)                      // MACC: the chip can be read
	set(ok && m.Protected, 0, 0x08)       // WRTP
	set(u.deck.CleaningNeeded(), 0, 0x04) // CRQST
	set(true, 0, 0x01)                    // DINIT
	set(ok && !loaded, 1, 0x20)           // RAA: the robot may take it
	set(ok, 1, 0x10)                      // MPRSNT
	set(loaded, 1, 0x04|0x02|0x01)        // MSTD, MTHRD, MOUNTED
	b := append([]byte{0, 0, 0x03, 4}, v...)
	return parameter(b, 1, 2, 500) // how often to ask, ms
}

// volumeStatistics is page 17h, its parameters that are known.
func (u *tape) volumeStatistics() []byte {
	m, ok := u.deck.Medium()
	if !ok {
		return parameter(nil, 0, 1, 0) // not valid
	}
	b := parameter(nil, 0x00, 1, 1)
	b = parameter(b, 0x01, 4, uint64(m.Memory.Loads))
	b = parameter(b, 0x02, 8, uint64(u.counters.blocksWritten))
	b = parameter(b, 0x03, 4, uint64(u.counters.writeErrors))
	b = parameter(b, 0x07, 8, uint64(u.counters.blocksRead))
	b = parameter(b, 0x08, 4, uint64(u.counters.readErrors))
	b = parameter(b, 0x10, 8, uint64(m.Memory.Written/1e6))
	b = parameter(b, 0x11, 8, uint64(m.Memory.Read/1e6))
	b = parameter(b, 0x16, 4, uint64(m.Capacity/1e6))
	b = parameter(b, 0x17, 4, uint64(m.Used/1e6))
	text := func(code uint16, n int, s string) {
		b = binary.BigEndian.AppendUint16(b, code)
		b = append(b, 0x01, byte(n)) // ASCII list
		f := make([]byte, n)
		pad(f, s)
		b = append(b, f...)
	}
	text(0x40, 32, m.Barcode) // volume serial number
	text(0x42, 32, m.Barcode) // barcode
	text(0x43, 8, vendor)
	text(0x44, 4, generationOf(m.Model.Generation).license)
	text(0x45, 9, "Ultrium-"+m.Model.Density[len("LTO-"):])
	protected, worm := uint64(0), uint64(0)
	if m.Protected {
		protected = 1
	}
	if m.WORM {
		worm = 1
	}
	b = parameter(b, 0x80, 1, protected)
	return parameter(b, 0x81, 1, worm)
}

// capacityLog is page 31h, in MiB.
func (u *tape) capacityLog() []byte {
	m, _ := u.deck.Medium()
	b := parameter(nil, 1, 4, uint64(max(m.Capacity-m.Reserve-m.Used, 0)>>20))
	b = parameter(b, 2, 4, 0)
	b = parameter(b, 3, 4, uint64(m.Capacity>>20))
	return parameter(b, 4, 4, 0)
}

// compressionLog is page 32h: the ratio of the medium's data, in hundredths.
func (u *tape) compressionLog() []byte {
	ratio := uint64(100)
	if m, ok := u.deck.Medium(); ok && m.Compression > 0 {
		ratio = uint64(m.Compression)
	}
	b := parameter(nil, 0, 2, ratio)
	return parameter(b, 1, 2, ratio)
}

var _ blocks = (*tape)(nil)
