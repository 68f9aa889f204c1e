package catalog

import (
	"context"

	"capstan/core/rt"
)

// A source gives entries in the order of their keys.
type source interface {
	// advance moves an input to the next entry: its key, its row, if the source has
	// rows, and how many bytes the key shares with the one before. They are valid until
	// it is called again.
	advance(ctx context.Context, in *input) (ok bool, err error)
}

// input is a source in a merge, and the entry that it stands at.
type input struct {
	source
	key    []byte
	row    []byte
	shared int
	order  int    // the greater counts, of two entries of one path
	code   uint32 // how the key differs from that of the entry given last
}

// merger gives the entries of several sources in order. It is a tree of losers
// (Knuth, The Art of Computer Programming, vol. 3, 5.4.1) with offset-value codes
// (Conner, "Offset-value coding", IBM Technical Disclosure Bulletin 20(7), 1977):
// a key's code is where it first differs from the last one given, and its byte there.
// Of two keys the one with the lower code is lower, and only where codes are equal
// bytes are compared, those after.
type merger struct {
	tree []*input // the first is the winner; input i's parent is (i + inputs) / 2
}

// Codes of a key that is the same as the last one, and of what follows all keys.
const (
	codeSame = 0
	codeEnd  = 1<<32 - 1
)

// setCode notes that the key first differs at a byte.
func (in *input) setCode(at int) {
	if in.code = codeSame; at < len(in.key) {
		in.code = uint32(1<<16-1-at)<<8 | uint32(in.key[at])
	}
}

// before tells whether in comes before other; the code of the one that does not is
// then of how it differs from the one that does.
func (in *input) before(other *input) bool {
	if in.code != other.code {
		return in.code < other.code
	}
	if in.code == codeSame || in.code == codeEnd {
		return in.order < other.order
	}
	at := 1<<16 - int(in.code>>8) // the byte after the one that codes have
	at += sharedPrefix(in.key[at:], other.key[at:])
	lower := in.order < other.order
	if at < len(in.key) || at < len(other.key) {
		lower = at == len(in.key) || at < len(other.key) && in.key[at] < other.key[at]
	}
	if lower {
		other.setCode(at)
	} else {
		in.setCode(at)
	}
	return lower
}

func newMerger(ctx context.Context, sources []source) (*merger, error) {
	m := &merger{tree: make([]*input, len(sources))}
	for i, s := range sources {
		in := &input{source: s, order: i}
		if err := in.next(ctx); err != nil {
			return nil, err
		}
		m.play(in)
	}
	return m, nil
}

// play takes an input up the tree: against the losers that it meets, to the first
// place that is free or to the top.
func (m *merger) play(in *input) {
	for at := (in.order + len(m.tree)) / 2; at > 0; at /= 2 {
		if m.tree[at] == nil {
			m.tree[at] = in
			return
		}
		if m.tree[at].before(in) {
			m.tree[at], in = in, m.tree[at]
		}
	}
	m.tree[0] = in
}

func (in *input) next(ctx context.Context) error {
	ok, err := in.advance(ctx, in)
	if in.code = codeEnd; ok {
		in.setCode(in.shared)
	}
	return err
}

// top is the input that stands at the lowest key; nil at the end.
func (m *merger) top() *input {
	if len(m.tree) == 0 || m.tree[0].code == codeEnd {
		return nil
	}
	return m.tree[0]
}

// next moves the top input on.
func (m *merger) next(ctx context.Context) error {
	in := m.tree[0]
	err := in.next(ctx)
	m.play(in)
	return err
}

// merge calls fn for the entries of sources in order: once for each key, with the row
// that counts, which is the last source's last one that is not implied. Both are fn's
// until it returns.
func merge(ctx context.Context, sources []source, fn func(key, row []byte) error) error {
	m, err := newMerger(ctx, sources)
	if err != nil {
		return err
	}
	var key, row []byte
	for n := 0; m.top() != nil; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return rt.Cause(ctx)
		}
		key, row = append(key[:0], m.top().key...), append(row[:0], m.top().row...)
		if err := m.next(ctx); err != nil {
			return err
		}
		for m.top() != nil && m.top().code == codeSame {
			if other := m.top().row; !impliedRow(other) || impliedRow(row) {
				row = append(row[:0], other...)
			}
			if err := m.next(ctx); err != nil {
				return err
			}
		}
		if err := fn(key, row); err != nil {
			return err
		}
	}
	return nil
}
