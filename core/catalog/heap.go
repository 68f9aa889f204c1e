package catalog

import "context"

// shown is an image in a view's scan, and the entry that it stands at.
type shown struct {
	entry Entry
	order int // the newer image has the greater
	it    *iterator
}

// advance moves to the next entry; ok is false at the end.
func (s *shown) advance(ctx context.Context) (ok bool, err error) {
	ok, err = s.it.next(ctx)
	if ok {
		s.entry, err = s.it.entry()
	}
	return ok, err
}

// images is a heap, the lowest path first.
type images []*shown

func (h images) less(i, j int) bool {
	if c := comparePaths(h[i].entry.Path, h[j].entry.Path); c != 0 {
		return c < 0
	}
	return h[i].order < h[j].order
}

func (h images) heapify() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.sink(i)
	}
}

// sink restores the order of the heap below i.
func (h images) sink(i int) {
	for {
		low := 2*i + 1
		if low >= len(h) {
			return
		}
		if low+1 < len(h) && h.less(low+1, low) {
			low++
		}
		if !h.less(low, i) {
			return
		}
		h[i], h[low] = h[low], h[i]
		i = low
	}
}

// pop moves the first source on, or drops it at its end.
func (h *images) pop(ctx context.Context) error {
	old := *h
	ok, err := old[0].advance(ctx)
	if err != nil {
		return err
	}
	if !ok {
		old[0] = old[len(old)-1]
		*h = old[:len(old)-1]
	}
	h.sink(0)
	return nil
}
