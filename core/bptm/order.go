package bptm

import (
	"context"

	"capstan/core/dev"
	"capstan/core/image"
	"capstan/core/media"
)

// maxOrder is how many extents a drive is asked for an order of at once: LTO-9 takes 2730.
const maxOrder = 2000

// order is what is wanted of a fragment, in the parts and the order in which it is read:
// on tape the one that the drive recommends, if it does. A member that lies in the
// fragment before too is gone on with first, and one that goes on in the next comes last.
//
// Images, and the fragments of one, are read in their own order: a later image may replace
// what an earlier one held, and a member may lie in two fragments.
func (r *reader) order(ctx context.Context, f *image.Fragment, table media.BlockTable, v readVolume, picker *media.Picker) []*media.Picker {
	end := f.Offset + f.Length
	parts := picker.Split(end, func(to, from int64) bool {
		last, _ := table.Find(to - 1 - f.Offset)
		next, _ := table.Find(from - f.Offset)
		b, _, _ := table.Block(next)
		return next <= last+1 || b.Hollow
	})
	first, last := 0, len(parts)
	if next, ok := parts[0].Next(); ok && next == f.Offset {
		first++
	}
	if last > first && parts[last-1].End() == end {
		last--
	}
	for from := first; from < last; from += maxOrder {
		r.sort(ctx, f, table, v, parts[from:min(from+maxOrder, last)])
	}
	return parts
}

// sort puts parts of a fragment into the order that its volume recommends.
func (r *reader) sort(ctx context.Context, f *image.Fragment, table media.BlockTable, v readVolume, parts []*media.Picker) {
	if len(parts) < 2 {
		return
	}
	blocks := make([]dev.Extent, len(parts))
	for i, p := range parts {
		next, _ := p.Next()
		first, _ := table.Find(next - f.Offset)
		last, _ := table.Find(p.End() - 1 - f.Offset)
		blocks[i] = dev.Extent{First: int64(first), Last: int64(last)}
	}
	order := v.order(ctx, blocks)
	if order == nil {
		return
	}
	sorted := make([]*media.Picker, len(parts))
	for i, k := range order {
		sorted[i] = parts[k]
	}
	copy(parts, sorted)
	r.p.say(ctx, "reading %d parts of %s in the order that the drive recommends", len(parts), v.name())
}
