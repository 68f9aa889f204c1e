package vtl

import (
	"context"
	"fmt"
	"slices"
	"time"

	"capstan/core/dev"
)

// MaxAccesses bounds a list that a drive orders: what LTO-9 takes.
const MaxAccesses = 2730

// Sort says in which order extents are read with the least winding, by the model of
// locates; see [dev.Sorter]. Only the drives that do that answer.
func (h *driveHandle) Sort(ctx context.Context, extents []dev.Extent) (order []int, err error) {
	const op = "GENERATE RECOMMENDED ACCESS ORDER"
	err = h.do(ctx, op, needPosition, func(context.Context) error {
		if !h.d.model.Orders || len(extents) > MaxAccesses {
			return fmt.Errorf("an order of %d accesses, of a drive of model %s: %w", len(extents), h.d.model.Name, dev.ErrNotSupported)
		}
		order = h.d.order(extents)
		return nil
	})
	return order, err
}

// order is the order for extents, from the position on.
func (d *drive) order(extents []dev.Extent) []int {
	end := d.cart.tape.end()
	r := route{from: make([]spot, len(extents)), to: make([]spot, len(extents), len(extents)+1)}
	for i, e := range extents {
		r.from[i] = d.spot(max(min(e.First, end), 0))
		r.to[i] = d.spot(max(min(e.Last+1, end), 0))
	}
	r.to = append(r.to, d.spot(d.pos))
	w, length := d.model.winding(d.cart.model)
	r.length, r.mean = length, w.Locate-locateStart-uTurn/2
	return r.best()
}

// route is an open tour of extents of a tape, from where it stands. To go from one to
// another costs the locate from where the one ends to where the other begins; the way
// back costs something else.
type route struct {
	from, to []spot // where each begins and ends; to has one more: where the tape stands
	length   int64  // of the tape whose half takes mean
	mean     time.Duration
	near     [][]int // to each extent: those that it is cheaply reached from

	tour []int // tour[0] stands for where the tape is
	at   []int // where each is in tour
}

// cost is the locate from the end of one extent to the beginning of another.
func (r *route) cost(a, b int) time.Duration {
	return locateOver(r.to[a], r.from[b], r.length, r.mean)
}

// best is the best of three orders, the sweep there and back, the nearest one next, and
// the one that was given, made better by moving and turning parts of it, until nothing helps or the rounds are
// over. With n extents it takes n² steps and some more for each round; equal costs are
// decided by the numbers of the extents, so that an order is the same each time.
//
// Sandstå and Midtstraum (ICDE 1999) compare such schedules for serpentine tape.
func (r *route) best() []int {
	n := len(r.from)
	r.tour = r.given()
	for _, other := range [][]int{r.nearest(), r.sweep()} {
		if r.total(other) < r.total(r.tour) {
			r.tour = other
		}
	}
	r.at = make([]int, n+1)
	r.number(0, n)
	r.near = r.neighbours()
	const rounds = 12
	for range rounds {
		moved, turned := r.moves(), r.turns()
		if !moved && !turned {
			break
		}
	}
	return r.tour[1:]
}

func (r *route) total(tour []int) (sum time.Duration) {
	for i := 1; i < len(tour); i++ {
		sum += r.cost(tour[i-1], tour[i])
	}
	return sum
}

// given is the order that was given.
func (r *route) given() []int {
	n := len(r.from)
	tour := make([]int, 1, n+1)
	tour[0] = n
	for i := range n {
		tour = append(tour, i)
	}
	return tour
}

// sweep reads what runs away from the beginning on the way there, the others on the way
// back.
func (r *route) sweep() []int {
	tour := r.given()
	slices.SortStableFunc(tour[1:], func(a, b int) int {
		x, y := r.from[a], r.from[b]
		if d := direction(y.wrap) - direction(x.wrap); d != 0 {
			return int(d)
		}
		if d := (x.far - y.far) * direction(x.wrap); d != 0 {
			return int(sign(d))
		}
		return int(x.wrap - y.wrap)
	})
	return tour
}

// nearest goes to the nearest each time.
func (r *route) nearest() []int {
	n := len(r.from)
	tour := make([]int, 1, n+1)
	tour[0] = n
	left := make([]int, n)
	for i := range left {
		left[i] = i
	}
	for len(left) > 0 {
		last, next := tour[len(tour)-1], 0
		least := r.cost(last, left[0])
		for k := 1; k < len(left); k++ {
			if c := r.cost(last, left[k]); c < least {
				next, least = k, c
			}
		}
		tour = append(tour, left[next])
		left = slices.Delete(left, next, next+1)
	}
	return tour
}

// neighbours are, for each extent, a dozen from which it is cheaply reached, of those
// that end near its beginning.
func (r *route) neighbours() [][]int {
	const window, keep = 48, 12
	n := len(r.from)
	ends := make([]int, n+1)
	for i := range ends {
		ends[i] = i
	}
	slices.SortStableFunc(ends, func(a, b int) int { return int(sign(r.to[a].far - r.to[b].far)) })
	near := make([][]int, n)
	for b := range n {
		k, _ := slices.BinarySearchFunc(ends, r.from[b].far, func(a int, far int64) int { return int(sign(r.to[a].far - far)) })
		var some []int
		for _, a := range ends[max(k-window, 0):min(k+window, n+1)] {
			if a != b {
				some = append(some, a)
			}
		}
		slices.SortStableFunc(some, func(x, y int) int { return int(r.cost(x, b) - r.cost(y, b)) })
		near[b] = slices.Clip(some[:min(keep, len(some))])
	}
	return near
}

// number notes where the extents of a part of the tour are.
func (r *route) number(from, to int) {
	for i := from; i <= to; i++ {
		r.at[r.tour[i]] = i
	}
}

// moves puts one to three extents that follow each other elsewhere (Or-opt).
func (r *route) moves() (better bool) {
	for first := range r.from {
		for size := 1; size <= 3; size++ {
			i := r.at[first]
			if i+size > len(r.tour) {
				break
			}
			better = r.move(i, size) || better
		}
	}
	return better
}

// move puts tour[i:i+size] after the neighbour that saves most, if one saves.
func (r *route) move(i, size int) bool {
	j := i + size // the first after them
	first, last := r.tour[i], r.tour[j-1]
	gone := r.cost(r.tour[i-1], first) + r.link(last, j) - r.link(r.tour[i-1], j)
	best, where := time.Duration(0), -1
	for _, a := range r.near[first] {
		p := r.at[a]
		if p >= i-1 && p < j {
			continue
		}
		if d := r.cost(a, first) + r.link(last, p+1) - r.link(a, p+1) - gone; d < best {
			best, where = d, p
		}
	}
	if where < 0 {
		return false
	}
	part := slices.Clone(r.tour[i:j])
	if where < i {
		copy(r.tour[where+1+size:j], r.tour[where+1:i])
		copy(r.tour[where+1:], part)
		r.number(where+1, j-1)
	} else {
		copy(r.tour[i:], r.tour[j:where+1])
		copy(r.tour[where+1-size:], part)
		r.number(i, where)
	}
	return true
}

// link is the cost from an extent to the one at a place of the tour, none after its end.
func (r *route) link(a, i int) time.Duration {
	if i >= len(r.tour) {
		return 0
	}
	return r.cost(a, r.tour[i])
}

// turns reads a part of the tour the other way round (2-opt), where that is cheaper.
func (r *route) turns() (better bool) {
	n := len(r.tour)
	there, back := make([]time.Duration, n), make([]time.Duration, n) // sums up to each
	sum := func(from int) {
		for k := max(from, 1); k < n; k++ {
			there[k] = there[k-1] + r.cost(r.tour[k-1], r.tour[k])
			back[k] = back[k-1]
			if k > 1 { // nothing goes back to where the tape stands
				back[k] += r.cost(r.tour[k], r.tour[k-1])
			}
		}
	}
	sum(1)
	for b := range r.from {
		for _, a := range r.near[b] {
			i, j := r.at[a]+1, r.at[b] // a, then b … back to what follows a
			if i >= j {
				continue
			}
			was := there[j] - there[i-1] + r.link(b, j+1)
			if r.cost(a, b)+back[j]-back[i]+r.link(r.tour[i], j+1) < was {
				slices.Reverse(r.tour[i : j+1])
				r.number(i, j)
				sum(i)
				better = true
			}
		}
	}
	return better
}
