// Package streamtest checks that a world's data seam is what core/stream says:
// [Rings] the shared memory between two processes of a host, [Conns] the data
// connections between hosts. Both worlds run the same suites, so what is here
// waits and starts tasks by core/rt alone.
package streamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/stream"
)

// RingWorld is a world under test for [Rings].
type RingWorld struct {
	// Run makes two processes, A and B, of one host, runs body as a task of A and
	// returns when it has returned.
	Run func(t testing.TB, body func(ctx context.Context, f RingFixture))
}

// RingFixture is what the suite has of the two processes.
type RingFixture struct {
	A, B stream.Rings
	// GoB starts a task of process B.
	GoB func(ctx context.Context, name string, fn func(ctx context.Context))
	// KillB kills process B; nil if this world's tests do it elsewhere.
	KillB func(ctx context.Context)
	// Damage changes a byte of what a filled slot holds; nil if the world cannot.
	Damage func(r stream.Ring, slot int)
	// Hollow says that the world's rings carry hollow slots; else they refuse them.
	Hollow bool
}

// patience is how long the suite waits for what must happen before it says that
// it does not.
const patience = 30 * time.Second

// Rings checks a world's rings.
func Rings(t *testing.T, w RingWorld) {
	cases := []struct {
		name string
		body func(ctx context.Context, f RingFixture) error
	}{
		{"fields arrive", ringFields},
		{"data may flow from the side that attached", ringBackwards},
		{"the filler waits for an empty slot", ringWaitsEmpty},
		{"the taker waits for a full slot", ringWaitsFull},
		{"empty is the same slot until it is filled", ringSameSlot},
		{"a slot that was not freed stays", ringUnfreed},
		{"close cuts after what was filled", ringCloseByFiller},
		{"the taker's close cuts the filler", ringCloseByTaker},
		{"close wakes the taker that waits", ringCloseWakes},
		{"a wait ends with its context", ringCancel},
		{"what must not be filled is refused", ringRefused},
		{"hollow slots", ringHollow},
		{"attaching to no ring fails", ringNobody},
		{"a name is used once at a time", ringTwice},
		{"rings of several names", ringSeveral},
		{"death of the filler cuts", ringDeath},
		{"damage is found", ringDamage},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := w.run(t, c.body); errors.Is(err, errNotHere) {
				t.Skip(err)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("order and content", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) {
			plan := drawTransfer(r)
			if err := w.run(t, plan.run); err != nil {
				r.Fatal(err)
			}
		})
	})
}

var errNotHere = errors.New("this world's fixture cannot do that")

func (w RingWorld) run(t testing.TB, body func(ctx context.Context, f RingFixture) error) error {
	err := errors.New("the world returned before the body did")
	w.Run(t, func(ctx context.Context, f RingFixture) {
		ctx, cancel := rt.WithTimeout(ctx, patience)
		defer cancel()
		err = body(ctx, f)
	})
	return err
}

// pair makes a ring: created by A, attached by B.
func pair(ctx context.Context, f RingFixture, slots, size int) (a, b stream.Ring, err error) {
	if a, err = f.A.Create(ctx, "pair", slots, size); err != nil {
		return nil, nil, fmt.Errorf("Create: %w", err)
	}
	if b, err = f.attachB(ctx, "pair"); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("Attach: %w", err), a.Close())
	}
	if a.SlotSize() != size || b.SlotSize() != size {
		return nil, nil, fmt.Errorf("slot sizes are %d and %d, not %d", a.SlotSize(), b.SlotSize(), size)
	}
	return a, b, nil
}

func (f RingFixture) attachB(ctx context.Context, name string) (r stream.Ring, err error) {
	done := f.inB(ctx, "attach", func(ctx context.Context) error {
		var err error
		r, err = f.B.Attach(ctx, name)
		return err
	})
	return r, done(ctx)
}

// inB runs fn as a task of B; the function it returns waits for its end.
func (f RingFixture) inB(ctx context.Context, name string, fn func(ctx context.Context) error) func(context.Context) error {
	done := rt.NewEvent(ctx)
	var err error
	f.GoB(ctx, name, func(ctx context.Context) {
		err = fn(ctx)
		done.Set()
	})
	return func(ctx context.Context) error {
		if werr := done.Wait(ctx); werr != nil {
			return fmt.Errorf("%s in process B does not end: %w", name, werr)
		}
		return err
	}
}

// fill fills one slot with data.
func fill(ctx context.Context, r stream.Ring, data []byte, offset int64) error {
	b, err := r.Empty(ctx)
	if err != nil {
		return fmt.Errorf("Empty: %w", err)
	}
	if len(b) != 0 || cap(b) < r.SlotSize() {
		return fmt.Errorf("Empty gave %d bytes of %d, not 0 of %d", len(b), cap(b), r.SlotSize())
	}
	b = append(b, data...)
	if err := r.Fill(ctx, stream.Slot{Kind: stream.Data, Bytes: b, Len: int64(len(b)), Offset: offset}); err != nil {
		return fmt.Errorf("Fill: %w", err)
	}
	return nil
}

// take takes one slot and compares it.
func take(ctx context.Context, r stream.Ring, data []byte, offset int64) error {
	s, err := r.Full(ctx)
	if err != nil {
		return fmt.Errorf("Full: %w", err)
	}
	if s.Kind != stream.Data || s.Len != int64(len(data)) || s.Offset != offset || !bytes.Equal(s.Bytes, data) {
		return fmt.Errorf("Full gave kind %d, length %d, offset %d, %.32q, not data of length %d, offset %d, %.32q",
			s.Kind, s.Len, s.Offset, s.Bytes, len(data), offset, data)
	}
	return r.Free(ctx)
}

func closeAll(rings ...stream.Ring) error {
	var err error
	for _, r := range rings {
		err = errors.Join(err, r.Close())
	}
	return err
}

// transfer is a series of slots to pass through a ring.
type transfer struct {
	slots, size int
	blocks      [][]byte
	kinds       []stream.Kind
	pauseFill   []bool
	pauseTake   []bool
}

func drawTransfer(t *rapid.T) transfer {
	p := transfer{slots: rapid.IntRange(1, 8).Draw(t, "slots"), size: rapid.IntRange(1, 9000).Draw(t, "size")}
	n := rapid.IntRange(0, 40).Draw(t, "blocks")
	for i := range n {
		length := rapid.IntRange(0, p.size).Draw(t, "length")
		first := rapid.Byte().Draw(t, "first")
		block := make([]byte, length)
		for j := range block {
			block[j] = first + byte(j) + byte(i)
		}
		p.blocks = append(p.blocks, block)
		p.kinds = append(p.kinds, rapid.SampledFrom([]stream.Kind{stream.Data, stream.Member, stream.End, stream.Amend}).Draw(t, "kind"))
		p.pauseFill = append(p.pauseFill, rapid.Bool().Draw(t, "pause the filler"))
		p.pauseTake = append(p.pauseTake, rapid.Bool().Draw(t, "pause the taker"))
	}
	return p
}

func (p transfer) run(ctx context.Context, f RingFixture) error {
	a, b, err := pair(ctx, f, p.slots, p.size)
	if err != nil {
		return err
	}
	filled := f.inB(ctx, "fill", func(ctx context.Context) error { return p.fill(ctx, b) })
	err = errors.Join(p.take(ctx, a), filled(ctx))
	return errors.Join(err, closeAll(a, b))
}

func (p transfer) fill(ctx context.Context, r stream.Ring) error {
	for i, data := range p.blocks {
		if p.pauseFill[i] {
			if err := rt.Sleep(ctx, time.Microsecond); err != nil {
				return err
			}
		}
		mem, err := r.Empty(ctx)
		if err != nil {
			return fmt.Errorf("Empty %d: %w", i, err)
		}
		s := stream.Slot{Kind: p.kinds[i], Flags: uint8(i), Bytes: append(mem, data...), Offset: int64(i)}
		if s.Kind == stream.Data {
			s.Len = int64(len(data))
		}
		if err := r.Fill(ctx, s); err != nil {
			return fmt.Errorf("Fill %d: %w", i, err)
		}
	}
	return nil
}

func (p transfer) take(ctx context.Context, r stream.Ring) error {
	for i, data := range p.blocks {
		if p.pauseTake[i] {
			if err := rt.Sleep(ctx, time.Microsecond); err != nil {
				return err
			}
		}
		s, err := r.Full(ctx)
		if err != nil {
			return fmt.Errorf("Full %d: %w", i, err)
		}
		if s.Kind != p.kinds[i] || s.Flags != uint8(i) || s.Offset != int64(i) || !bytes.Equal(s.Bytes, data) {
			return fmt.Errorf("slot %d: kind %d flags %d offset %d, %d bytes; filled with kind %d flags %d offset %d, %d bytes, or other ones",
				i, s.Kind, s.Flags, s.Offset, len(s.Bytes), p.kinds[i], uint8(i), i, len(data))
		}
		if err := r.Free(ctx); err != nil {
			return fmt.Errorf("Free %d: %w", i, err)
		}
	}
	return nil
}

func ringFields(ctx context.Context, f RingFixture) error {
	a, b, err := pair(ctx, f, 2, 512)
	if err != nil {
		return err
	}
	done := f.inB(ctx, "fill", func(ctx context.Context) error {
		mem, err := b.Empty(ctx)
		if err != nil {
			return err
		}
		return b.Fill(ctx, stream.Slot{
			Kind: stream.Data, Flags: stream.CutBefore, Bytes: append(mem, "123456789"...), Len: 9, Offset: 1 << 40,
		})
	})
	s, err := a.Full(ctx)
	if err = errors.Join(err, done(ctx)); err != nil {
		return err
	}
	// E3069283 is the check value of CRC-32C (RFC 3720, B.4 gives its polynomial).
	if s.Kind != stream.Data || s.Flags != stream.CutBefore || string(s.Bytes) != "123456789" || s.Len != 9 ||
		s.Offset != 1<<40 || s.CRC != 0xe3069283 {
		return fmt.Errorf("Full gave %+v", s)
	}
	return errors.Join(a.Free(ctx), closeAll(a, b))
}

func ringBackwards(ctx context.Context, f RingFixture) error {
	a, b, err := pair(ctx, f, 2, 64)
	if err != nil {
		return err
	}
	done := f.inB(ctx, "take", func(ctx context.Context) error {
		for i := range 10 {
			if err := take(ctx, b, []byte{byte(i)}, int64(i)); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range 10 {
		if err := fill(ctx, a, []byte{byte(i)}, int64(i)); err != nil {
			return err
		}
	}
	return errors.Join(done(ctx), closeAll(a, b))
}

func ringWaitsEmpty(ctx context.Context, f RingFixture) error {
	a, b, err := pair(ctx, f, 2, 64)
	if err != nil {
		return err
	}
	done := f.inB(ctx, "fill", func(ctx context.Context) error {
		for i := range 3 {
			if err := fill(ctx, b, []byte{byte(i)}, 0); err != nil {
				return err
			}
		}
		return nil
	})
	for b.Waits().Empty == 0 { // the third finds both slots full
		if err := rt.Sleep(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("the filler of a full ring does not wait: %w", err)
		}
	}
	for i := range 3 {
		if err := take(ctx, a, []byte{byte(i)}, 0); err != nil {
			return err
		}
	}
	err = done(ctx)
	if w := b.Waits(); w.Empty != 1 || w.Full != 0 {
		err = errors.Join(err, fmt.Errorf("the filler counts %+v, not one wait for an empty slot", w))
	}
	return errors.Join(err, closeAll(a, b))
}

func ringWaitsFull(ctx context.Context, f RingFixture) error {
	a, b, err := pair(ctx, f, 2, 64)
	if err != nil {
		return err
	}
	done := f.inB(ctx, "take", func(ctx context.Context) error { return take(ctx, b, []byte("late"), 0) })
	for b.Waits().Full == 0 {
		if err := rt.Sleep(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("the taker of an empty ring does not wait: %w", err)
		}
	}
	err = errors.Join(fill(ctx, a, []byte("late"), 0), done(ctx))
	if w := b.Waits(); w.Full != 1 || w.Empty != 0 {
		err = errors.Join(err, fmt.Errorf("the taker counts %+v, not one wait for a full slot", w))
	}
	return errors.Join(err, closeAll(a, b))
}

func ringSameSlot(ctx context.Context, f RingFixture) error {
	a, b, err := pair(ctx, f, 2, 64)
	if err != nil {
		return err
	}
	for range 5 { // more often than there are slots
		if _, err := a.Empty(ctx); err != nil {
			return err
		}
	}
	if err := fill(ctx, a, []byte("once"), 0); err != nil {
		return err
	}
	done := f.inB(ctx, "take", func(ctx context.Context) error { return take(ctx, b, []byte("once"), 0) })
	return errors.Join(done(ctx), closeAll(a, b))
}

func ringUnfreed(ctx context.Context, f RingFixture) error {
	a, b, err := pair(ctx, f, 3, 64)
	if err != nil {
		return err
	}
	err = errors.Join(fill(ctx, a, []byte("one"), 0), fill(ctx, a, []byte("two"), 3))
	done := f.inB(ctx, "take", func(ctx context.Context) error {
		if _, err := b.Full(ctx); err != nil {
			return err
		}
		return errors.Join(take(ctx, b, []byte("one"), 0), take(ctx, b, []byte("two"), 3))
	})
	return errors.Join(err, done(ctx), closeAll(a, b))
}

// wantCut tells whether err is a cut.
func wantCut(what string, err error) error {
	if !errors.Is(err, stream.ErrCut) {
		return fmt.Errorf("%s gave %w, not that the stream was cut", what, orNone(err))
	}
	return nil
}

func orNone(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

func ringCloseByFiller(ctx context.Context, f RingFixture) error {
	a, b, err := pair(ctx, f, 4, 64)
	if err != nil {
		return err
	}
	done := f.inB(ctx, "fill", func(ctx context.Context) error {
		return errors.Join(fill(ctx, b, []byte("one"), 0), fill(ctx, b, []byte("two"), 3), b.Close())
	})
	err = errors.Join(done(ctx), take(ctx, a, []byte("one"), 0), take(ctx, a, []byte("two"), 3))
	_, ferr := a.Full(ctx)
	return errors.Join(err, wantCut("Full of a drained ring", ferr), a.Close())
}

func ringCloseByTaker(ctx context.Context, f RingFixture) error {
	a, b, err := pair(ctx, f, 4, 64)
	if err != nil {
		return err
	}
	done := f.inB(ctx, "close", func(context.Context) error { return b.Close() })
	if err := done(ctx); err != nil {
		return err
	}
	for range 5 { // slots that are empty may still be given, but no more than there are
		if err = fill(ctx, a, []byte("lost"), 0); err != nil {
			break
		}
	}
	return errors.Join(wantCut("Empty of a ring that nobody takes from", err), a.Close())
}

func ringCloseWakes(ctx context.Context, f RingFixture) error {
	a, b, err := pair(ctx, f, 4, 64)
	if err != nil {
		return err
	}
	done := f.inB(ctx, "take", func(ctx context.Context) error {
		_, err := b.Full(ctx)
		return wantCut("Full of a ring that was closed meanwhile", err)
	})
	for b.Waits().Full == 0 {
		if err := rt.Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return errors.Join(a.Close(), done(ctx), b.Close())
}

func ringCancel(ctx context.Context, f RingFixture) error {
	a, b, err := pair(ctx, f, 1, 64)
	if err != nil {
		return err
	}
	cause := errors.New("no longer wanted")
	short, cancel := rt.WithCancel(ctx)
	rt.Go(ctx, "cancel", func(ctx context.Context) {
		for a.Waits().Full == 0 {
			if rt.Sleep(ctx, time.Millisecond) != nil {
				break
			}
		}
		cancel(cause)
	})
	if _, ferr := a.Full(short); !errors.Is(ferr, cause) {
		err = errors.Join(err, fmt.Errorf("Full under a cancelled context gave %w, not its cause", orNone(ferr)))
	}
	done := f.inB(ctx, "fill", func(ctx context.Context) error { return fill(ctx, b, []byte("x"), 0) })
	err = errors.Join(err, done(ctx), take(ctx, a, []byte("x"), 0)) // the ring is as it was
	return errors.Join(err, closeAll(a, b))
}

func ringRefused(ctx context.Context, f RingFixture) error {
	a, b, err := pair(ctx, f, 2, 16)
	if err != nil {
		return err
	}
	if err := a.Fill(ctx, stream.Slot{Kind: stream.End}); err == nil {
		return errors.New("Fill without Empty was taken")
	}
	mem, err := a.Empty(ctx)
	if err != nil {
		return err
	}
	bad := []struct {
		name string
		slot stream.Slot
	}{
		{"too long", stream.Slot{Kind: stream.Data, Bytes: append(mem, make([]byte, 17)...), Len: 17}},
		{"memory of its own", stream.Slot{Kind: stream.Data, Bytes: []byte("mine"), Len: 4}},
		{"a length that is not that of its bytes", stream.Slot{Kind: stream.Data, Bytes: append(mem, 'x'), Len: 2}},
	}
	for _, c := range bad {
		if a.Fill(ctx, c.slot) == nil {
			err = errors.Join(err, fmt.Errorf("a slot with %s was taken", c.name))
		}
	}
	if b.Free(ctx) == nil {
		err = errors.Join(err, errors.New("Free without Full was taken"))
	}
	return errors.Join(err, closeAll(a, b))
}

func ringHollow(ctx context.Context, f RingFixture) error {
	a, b, err := pair(ctx, f, 2, 16)
	if err != nil {
		return err
	}
	if _, err := a.Empty(ctx); err != nil {
		return err
	}
	hollow := stream.Slot{Kind: stream.Data, Len: 1 << 40, Offset: 7, Via: []dev.Resource{{Name: "disk", Rate: 1}}}
	ferr := a.Fill(ctx, hollow)
	if !f.Hollow {
		if ferr == nil {
			err = errors.New("a hollow slot was taken by a ring that carries bytes")
		}
		return errors.Join(err, closeAll(a, b))
	}
	done := f.inB(ctx, "take", func(ctx context.Context) error {
		s, err := b.Full(ctx)
		if err == nil && (s.Bytes != nil || s.Len != hollow.Len || s.Offset != 7 || len(s.Via) != 1 || s.Via[0] != hollow.Via[0]) {
			err = fmt.Errorf("Full gave %+v, not %+v", s, hollow)
		}
		return err
	})
	return errors.Join(ferr, done(ctx), closeAll(a, b))
}

func ringNobody(ctx context.Context, f RingFixture) error {
	r, err := f.attachB(ctx, "nobody made it")
	if err == nil {
		return errors.Join(errors.New("Attach found a ring that nobody made"), r.Close())
	}
	return nil
}

func ringTwice(ctx context.Context, f RingFixture) error {
	a, err := f.A.Create(ctx, "twice", 1, 64)
	if err != nil {
		return err
	}
	if b, err := f.A.Create(ctx, "twice", 1, 64); err == nil {
		return errors.Join(errors.New("a second ring of the same name was made"), closeAll(a, b))
	}
	if err := a.Close(); err != nil {
		return err
	}
	again, err := f.A.Create(ctx, "twice", 1, 64)
	if err != nil {
		return fmt.Errorf("the name of a closed ring cannot be used again: %w", err)
	}
	return again.Close()
}

func ringSeveral(ctx context.Context, f RingFixture) error {
	names := []string{"bptm/12/1/1", "bptm/12/1/2", "with space and / and .."}
	var made []stream.Ring
	for _, name := range names {
		r, err := f.A.Create(ctx, name, 2, 64)
		if err != nil {
			return err
		}
		made = append(made, r)
	}
	for i, name := range names {
		b, err := f.attachB(ctx, name)
		if err != nil {
			return err
		}
		if err := fill(ctx, made[i], []byte(name), 0); err != nil {
			return err
		}
		done := f.inB(ctx, "take", func(ctx context.Context) error { return take(ctx, b, []byte(name), 0) })
		if err := errors.Join(done(ctx), b.Close()); err != nil {
			return err
		}
	}
	return closeAll(made...)
}

func ringDeath(ctx context.Context, f RingFixture) error {
	if f.KillB == nil {
		return errNotHere
	}
	a, b, err := pair(ctx, f, 4, 64)
	if err != nil {
		return err
	}
	filled := f.inB(ctx, "fill", func(ctx context.Context) error {
		if err := errors.Join(fill(ctx, b, []byte("one"), 0), fill(ctx, b, []byte("two"), 3)); err != nil {
			return err
		}
		_, err := b.Empty(ctx) // taken, never filled
		return err
	})
	if err := filled(ctx); err != nil {
		return err
	}
	f.KillB(ctx)
	err = errors.Join(take(ctx, a, []byte("one"), 0), take(ctx, a, []byte("two"), 3))
	_, ferr := a.Full(ctx)
	return errors.Join(err, wantCut("Full after the filler's death", ferr), a.Close())
}

func ringDamage(ctx context.Context, f RingFixture) error {
	if f.Damage == nil {
		return errNotHere
	}
	a, b, err := pair(ctx, f, 4, 64)
	if err != nil {
		return err
	}
	done := f.inB(ctx, "fill", func(ctx context.Context) error {
		return errors.Join(fill(ctx, b, []byte("good"), 0), fill(ctx, b, []byte("to be damaged"), 4))
	})
	if err := done(ctx); err != nil {
		return err
	}
	f.Damage(a, 1)
	if err := take(ctx, a, []byte("good"), 0); err != nil {
		return err
	}
	if s, err := a.Full(ctx); err == nil || errors.Is(err, stream.ErrCut) {
		return fmt.Errorf("damaged bytes came out as %q with %w", s.Bytes, orNone(err))
	}
	return closeAll(a, b)
}
