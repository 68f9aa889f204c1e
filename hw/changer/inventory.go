package changer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"capstan/core/dev"
	"capstan/core/scsi"
)

// What one question asks for at most: some changers look at 16 bits of the length
// only, and a thousand descriptors are what fits in there.
const (
	mostBytes    = 0xFFFF
	mostElements = 1000
)

// Inventory reads the state of every element; see [dev.Changer]. It is what the
// library remembers: see [Changer.Rescan].
func (c *Changer) Inventory(ctx context.Context) ([]dev.Element, error) {
	all, err := c.all(ctx)
	if err == nil && c.dirty { // opened meanwhile: once more, and then it is as it is
		c.log.Info("the library was opened while it was asked for its elements: they are asked for again")
		all, err = c.all(ctx)
	}
	return all, err
}

// all reads the state of every element once.
func (c *Changer) all(ctx context.Context) ([]dev.Element, error) {
	c.dirty = false
	var all []dev.Element
	for _, kind := range kinds {
		es, err := c.elements(ctx, kind, c.places[kind])
		if err != nil {
			return nil, err
		}
		all = append(all, es...)
	}
	slices.SortFunc(all, func(a, b dev.Element) int { return cmp.Compare(a.Address, b.Address) })
	return all, nil
}

// element reads the state of one element.
func (c *Changer) element(ctx context.Context, address int) (dev.Element, error) {
	for _, kind := range kinds {
		if !c.places[kind].Has(address) {
			continue
		}
		es, err := c.elements(ctx, kind, Range{address, 1})
		if err != nil {
			return dev.Element{}, err
		}
		for _, e := range es {
			if e.Address == address {
				return e, nil
			}
		}
	}
	return dev.Element{}, c.u.Error(dev.OpElementStatus, fmt.Errorf("element %d: %w", address, dev.ErrBadElement))
}

// elements reads the state of a range of elements of one kind, in pieces.
func (c *Changer) elements(ctx context.Context, kind dev.ElementKind, r Range) ([]dev.Element, error) {
	if r.Count == 0 {
		return nil, nil
	}
	together := c.asksIDs(kind) && !c.quirks.ApartIDs
	all, err := c.pieces(ctx, kind, r, !c.quirks.NoTags, together)
	if refused(err) && together { // some can do either, and not both in one command
		together, c.quirks.ApartIDs = false, true
		all, err = c.pieces(ctx, kind, r, !c.quirks.NoTags, false)
	}
	if refused(err) && !c.quirks.NoTags { // it has no reader of labels
		c.quirks.NoTags = true
		all, err = c.pieces(ctx, kind, r, false, false)
	}
	if err != nil || !c.asksIDs(kind) || together {
		return all, err
	}
	named, err := c.pieces(ctx, kind, r, false, true)
	if refused(err) {
		c.quirks.NoIDs = true
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range all {
		for _, n := range named {
			if n.Address == all[i].Address {
				all[i].Serial = n.Serial
			}
		}
	}
	return all, nil
}

func (c *Changer) asksIDs(kind dev.ElementKind) bool {
	return kind == dev.DriveElement && !c.quirks.NoIDs
}

// pieces asks for a range until all of it is there or the changer says no more. Each
// question begins behind the last element that came whole.
func (c *Changer) pieces(ctx context.Context, kind dev.ElementKind, r Range, tags, ids bool) ([]dev.Element, error) {
	var all []dev.Element
	b := make([]byte, mostBytes)
	for next := r.First; next < r.First+r.Count; {
		left := r.First + r.Count - next
		ask := Range{next, min(left, mostElements)}
		reply, err := c.repeat(ctx, dev.OpElementStatus, &scsi.Command{CDB: statusCDB(kind, ask, tags, ids, len(b)), In: b})
		if len(all) > 0 && errors.Is(err, dev.ErrBadElement) {
			return all, nil // there are fewer than the changer's page says
		}
		if err != nil {
			return nil, err
		}
		got, err := ParseStatus(answered(b, reply.N), ids)
		if err != nil {
			return nil, c.u.Error(dev.OpElementStatus, err)
		}
		last := next - 1
		for _, e := range got.Elements {
			// What was not asked for, or comes again, is of a changer that ignores the range.
			if e.Kind == kind && r.Has(e.Address) && e.Address > last {
				all, last = append(all, e), e.Address
			}
		}
		switch {
		case last < next && got.Cut:
			return nil, c.u.Error(dev.OpElementStatus, fmt.Errorf("%w: no whole descriptor of the %vs from %d on fits into %d bytes", ErrReply, kind, next, len(b)))
		case last < next, !got.Cut && ask.Count == left:
			return all, nil // the changer has told all that it has
		}
		next = last + 1
	}
	return all, nil
}

// answered is the answer of n bytes in b. tgt counts the header among the bytes that
// come after it and keeps as many back although there is room for them: they are the
// last descriptor's, which are taken for zeros. Identifiers end in them, so that one of
// theirs is the part that came.
func answered(b []byte, n int) []byte {
	n = min(max(n, 0), len(b))
	if n < statusHeader || int(number24(b[5:])) != n {
		return b[:n] // what is missing did not fit
	}
	end := min(n+statusHeader, len(b))
	clear(b[n:end])
	return b[:end]
}
