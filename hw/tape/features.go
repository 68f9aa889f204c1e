package tape

import (
	"context"
	"errors"

	"capstan/core/dev"
	"capstan/core/scsi"
	lu "capstan/hw/scsi"
)

// ability is whether a drive can do something.
type ability uint8

const (
	unknown ability = iota // it is tried
	no
	yes
)

// features are what a drive can do.
type features struct {
	locate16, locate10 ability
	long               ability // READ POSITION, long form
	immediate          ability // filemarks that are not waited for
	short              ability // a block comes whole that is shorter than was asked for
	erase              ability
	attributes         ability // of the medium's memory
	persist            ability // persistent reservations
	reserve            ability // RESERVE(6)
	security           ability // encryption
	order              ability // recommended access order
	densities          ability
	// Pages of mode parameters and of the log. A list of log pages is asked for once.
	compression, protection, medium ability
	log                             ability
	pages                           map[byte]bool
	// tells is whether READ POSITION knows where the drive is.
	tells ability
}

// learn asks for the drive's commands and log pages.
func (d *Drive) learn(ctx context.Context) {
	codes, err := d.u.Opcodes(ctx)
	if err == nil && len(codes) > 0 {
		d.can.list(codes)
	}
	if l, err := d.u.BlockLimits(ctx); err == nil && l.Max > 0 {
		d.maxBlock = min(d.maxBlock, l.Max)
	}
	if t, ok := d.u.Transport().(transferLimiter); ok {
		d.maxMoved = min(d.maxMoved, t.MaxTransfer())
	}
	for _, why := range d.can.known(d.kind) {
		d.log.Info("not believed", "of", d.kind.Product, "because", why)
	}
	d.can.pages = map[byte]bool{}
	if d.can.log != no {
		pages, err := d.u.LogPages(ctx)
		d.can.log = found(err)
		for _, p := range pages {
			d.can.pages[p] = true
		}
	}
	d.log.Info("opened", "vendor", d.kind.Vendor, "product", d.kind.Product, "revision", d.kind.Revision, "largest block", d.maxBlock, "largest transfer", d.maxMoved)
}

// found is what the outcome of a question says of the ability to answer it.
func found(err error) ability {
	if errors.Is(err, dev.ErrNotSupported) {
		return no
	}
	if err != nil {
		return unknown
	}
	return yes
}

// list takes a drive's list of commands. What is not on it the drive does not do.
func (f *features) list(codes []lu.Opcode) {
	have := map[byte]bool{}
	order := false
	for _, c := range codes {
		have[c.Code] = true
		order = order || c.Code == scsi.MaintenanceOut && c.Action == 0x1D
	}
	of := func(code byte) ability {
		if have[code] {
			return yes
		}
		return no
	}
	f.locate16, f.locate10 = of(scsi.Locate16), of(scsi.Locate10)
	f.erase, f.attributes, f.log = of(scsi.Erase6), of(scsi.ReadAttribute), of(scsi.LogSense)
	f.persist, f.reserve = of(scsi.PersistentReserveOut), of(scsi.Reserve6)
	f.security, f.densities = of(scsi.SecurityProtocolOut), of(scsi.ReportDensitySupport)
	if f.order = no; order {
		f.order = yes
	}
}

// quirk is what a kind of drive says that is not so.
type quirk struct {
	vendor, product string // as INQUIRY tells; product may be "" for any
	why             string
	apply           func(f *features)
}

var quirks = []quirk{
	{"IET", "VIRTUAL-TAPE", "tgt says of every medium that it can be written once", func(f *features) { f.medium = no }},
	{"IET", "VIRTUAL-TAPE", "tgt gives a part of a block that is shorter than was asked for", func(f *features) { f.short = no }},
}

// known applies what is known of a kind of drive.
func (f *features) known(k lu.Inquiry) (why []string) {
	for _, q := range quirks {
		if q.vendor == k.Vendor && (q.product == "" || q.product == k.Product) {
			q.apply(f)
			why = append(why, q.why)
		}
	}
	return why
}
