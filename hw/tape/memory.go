package tape

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"capstan/core/dev"
	lu "capstan/hw/scsi"
)

var (
	_ dev.TapeAlerter = (*Drive)(nil)
	_ dev.Sorter      = (*Drive)(nil)
	_ dev.Labeller    = (*Drive)(nil)
)

// TapeAlerts are the flags that are set; see [dev.TapeAlerter]. Of the two pages the
// one that clears nothing is read if the drive has it.
func (d *Drive) TapeAlerts(ctx context.Context) ([]dev.Alert, error) {
	d.last = ctx
	page := byte(lu.LogAlertAnswer)
	if !d.can.pages[page] {
		page = lu.LogAlerts
	}
	if !d.can.pages[page] {
		return nil, d.fail("LOG SENSE", fmt.Errorf("%w: TapeAlert", dev.ErrNotSupported))
	}
	p, err := d.u.Log(ctx, page)
	if err != nil {
		return nil, err
	}
	var all []dev.Alert
	flags := lu.AlertsOf(page, p)
	for n := 1; n <= 64; n++ {
		if flags.Has(n) {
			all = append(all, dev.Alert(n))
		}
	}
	return all, nil
}

// Volume is what the drive counts of the loaded medium.
func (d *Drive) Volume(ctx context.Context) (lu.Volume, error) {
	d.last = ctx
	if !d.can.pages[lu.LogVolume] {
		return lu.Volume{}, d.fail("LOG SENSE", fmt.Errorf("%w: volume statistics", dev.ErrNotSupported))
	}
	p, err := d.u.Log(ctx, lu.LogVolume)
	return lu.VolumeOf(p), err
}

// Sort has the drive say in which order extents are best read; see [dev.Sorter].
func (d *Drive) Sort(ctx context.Context, extents []dev.Extent) ([]int, error) {
	if err := d.same(ctx, "GENERATE RECOMMENDED ACCESS ORDER"); err != nil {
		return nil, err
	}
	if d.can.order == no {
		return nil, d.fail("GENERATE RECOMMENDED ACCESS ORDER", dev.ErrNotSupported)
	}
	in := make([]lu.Segment, len(extents))
	for i, e := range extents {
		in[i] = lu.Segment{Begin: uint64(e.First), Last: uint64(e.Last)}
		copy(in[i].Name[:], strconv.Itoa(i))
	}
	out, err := d.u.AccessOrder(ctx, in)
	if err != nil {
		if errors.Is(err, dev.ErrNotSupported) {
			d.can.order = no
		}
		return nil, err
	}
	return order(out, len(extents))
}

// order reads the numbers back by which the segments were named. Each must come once:
// what is not read would be missing from a restore.
func order(all []lu.Segment, n int) ([]int, error) {
	seen := make([]bool, n)
	var o []int
	for _, s := range all {
		i, err := strconv.Atoi(name(s.Name))
		if err != nil || i < 0 || i >= n || seen[i] {
			return nil, fmt.Errorf("%w: a segment named %q in the access order of %d", lu.ErrReply, name(s.Name), n)
		}
		seen[i] = true
		o = append(o, i)
	}
	if len(o) != n {
		return nil, fmt.Errorf("%w: an access order of %d of %d segments", lu.ErrReply, len(o), n)
	}
	return o, nil
}

func name(b [10]byte) string {
	n := 0
	for n < len(b) && b[n] != 0 {
		n++
	}
	return string(b[:n])
}

// WriteMemory notes in the cartridge's memory whose it is; see [dev.Labeller].
func (d *Drive) WriteMemory(ctx context.Context, application, label string) error {
	if err := d.placed(ctx, "WRITE ATTRIBUTE"); err != nil {
		return err
	}
	if d.can.attributes == no {
		return d.fail("WRITE ATTRIBUTE", dev.ErrNotSupported)
	}
	text := lu.FillText(lu.AttrLabel, label, 160)
	text.Format = lu.TextAttribute
	return d.u.WriteAttributes(ctx, []lu.Attribute{
		lu.FillText(lu.AttrVendor, application, 8), lu.FillText(lu.AttrName, application, 32), text,
	})
}

// ReadMemory reads what was noted; see [dev.Labeller].
func (d *Drive) ReadMemory(ctx context.Context) (application, label string, err error) {
	d.last = ctx
	if d.can.attributes == no {
		return "", "", d.fail("READ ATTRIBUTE", dev.ErrNotSupported)
	}
	all, err := d.u.Attributes(ctx, lu.AttrVendor)
	d.can.attributes = found(err)
	for _, a := range all {
		switch a.ID {
		case lu.AttrName:
			application = a.Words()
		case lu.AttrLabel:
			label = a.Words()
		}
	}
	return application, label, err
}
