package devtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"capstan/core/dev"
)

// action is one step of a random history of a drive.
type action struct {
	kind string
	n    int
	size int
}

var actions = rapid.Custom(func(t *rapid.T) action {
	return action{
		kind: rapid.SampledFrom([]string{"write", "write", "write", "mark", "read", "read", "locate", "space", "rewind", "end", "erase", "reload"}).Draw(t, "kind"),
		n:    rapid.IntRange(-4, 12).Draw(t, "n"),
		size: rapid.IntRange(1, 300).Draw(t, "size"),
	}
})

// testModel compares random histories with a tape that is a slice.
func testModel(t *testing.T, world World, open Open) {
	rapid.Check(t, func(rt *rapid.T) {
		// Drawn here, because a drawn value must not be made inside a task.
		history := rapid.SliceOfN(actions, 1, 40).Draw(rt, "history")
		var wrong error
		world(t, func(ctx context.Context) {
			start(ctx, t, open, true, func(ctx context.Context, r *rig) { wrong = replay(ctx, r, history) })
		})
		if wrong != nil {
			rt.Fatal(wrong)
		}
	})
}

// slice is a tape as a slice: nil is a filemark.
type slice struct {
	objects [][]byte
	pos     int
}

func (m *slice) write(b []byte) {
	m.objects = append(m.objects[:m.pos:m.pos], b)
	m.pos++
}

func (m *slice) files() (n int64) {
	for _, o := range m.objects[:m.pos] {
		if o == nil {
			n++
		}
	}
	return n
}

func (m *slice) read() ([]byte, error) {
	if m.pos == len(m.objects) {
		return nil, dev.ErrEndOfData
	}
	m.pos++
	if b := m.objects[m.pos-1]; b != nil {
		return b, nil
	}
	return nil, dev.ErrFilemark
}

func (m *slice) locate(to int) error {
	m.pos = max(min(to, len(m.objects)), 0)
	if to > len(m.objects) {
		return dev.ErrEndOfData
	}
	return nil
}

func (m *slice) space(n int) error {
	for ; n > 0; n-- {
		for m.pos < len(m.objects) && m.objects[m.pos] != nil {
			m.pos++
		}
		if m.pos == len(m.objects) {
			return dev.ErrEndOfData
		}
		m.pos++
	}
	for ; n < 0; n++ {
		for m.pos > 0 && m.objects[m.pos-1] != nil {
			m.pos--
		}
		if m.pos == 0 {
			return dev.ErrBeginning
		}
		m.pos--
	}
	return nil
}

func replay(ctx context.Context, r *rig, history []action) error {
	m := &slice{}
	for i, a := range history {
		got, want := step(ctx, r.drive, m, i, a)
		if (want == nil && got != nil) || (want != nil && !errors.Is(got, want)) {
			return fmt.Errorf("step %d, %+v: %w; the model says %w", i, a, got, want)
		}
		p, err := r.drive.Position(ctx)
		if err != nil {
			return fmt.Errorf("step %d, %+v: position: %w", i, a, err)
		}
		if p.Block != int64(m.pos) || p.File != m.files() {
			return fmt.Errorf("step %d, %+v: position %+v; the model says block %d, file %d", i, a, p, m.pos, m.files())
		}
	}
	return nil
}

// step does an action on the drive and on the model and returns both results.
func step(ctx context.Context, d dev.Drive, m *slice, i int, a action) (got, want error) {
	switch a.kind {
	case "write":
		b := block(i, a.size)
		m.write(b)
		return d.Write(ctx, b), nil
	case "mark":
		n := max(a.n%3, 0)
		for range n {
			m.write(nil)
		}
		return d.WriteFilemarks(ctx, n, a.size%2 == 0), nil
	case "read":
		p := make([]byte, 300)
		n, err := d.Read(ctx, p)
		b, want := m.read()
		if err == nil && want == nil && !bytes.Equal(b, p[:n]) {
			return fmt.Errorf("read %d bytes that are not the %d written", n, len(b)), nil
		}
		return err, want
	case "locate":
		to := max(a.n, 0)
		return d.Locate(ctx, int64(to)), m.locate(to)
	case "space":
		return d.Space(ctx, a.n), m.space(a.n)
	case "rewind":
		m.pos = 0
		return d.Rewind(ctx), nil
	case "end":
		m.pos = len(m.objects)
		return d.SpaceToEnd(ctx), nil
	case "erase":
		m.objects = m.objects[:m.pos]
		return d.Erase(ctx), nil
	}
	m.pos = 0
	if err := d.Unload(ctx); err != nil {
		return err, nil
	}
	return d.Load(ctx), nil
}
