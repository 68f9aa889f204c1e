package target_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// reel is a tape as a slice: nil is a filemark.
type reel struct {
	objects [][]byte
	pos     int
}

func (m *reel) write(b []byte) {
	m.objects = append(m.objects[:m.pos:m.pos], b)
	m.pos++
}

func (m *reel) file() (n int) {
	for _, o := range m.objects[:m.pos] {
		if o == nil {
			n++
		}
	}
	return n
}

// read is what READ of n bytes gives, and how it ends.
func (m *reel) read(n int, silent bool) ([]byte, string) {
	if m.pos == len(m.objects) {
		return nil, fmt.Sprintf("8/00/05 information %d", n)
	}
	b := m.objects[m.pos]
	m.pos++
	switch {
	case b == nil:
		return nil, fmt.Sprintf("0/00/01 FILEMARK information %d", n)
	case len(b) == n || silent:
		return b[:min(n, len(b))], good
	}
	return b[:min(n, len(b))], fmt.Sprintf("0/00/00 ILI information %d", n-len(b))
}

// space moves one object at a time, as the standard describes it.
func (m *reel) space(marks bool, n int) string {
	for left := n; left > 0; left-- {
		for marks && m.pos < len(m.objects) && m.objects[m.pos] != nil {
			m.pos++
		}
		if m.pos == len(m.objects) {
			return fmt.Sprintf("8/00/05 information %d", left)
		}
		m.pos++
		if !marks && m.objects[m.pos-1] == nil {
			return fmt.Sprintf("0/00/01 FILEMARK information %d", left)
		}
	}
	for left := -n; left > 0; left-- {
		for marks && m.pos > 0 && m.objects[m.pos-1] != nil {
			m.pos--
		}
		if m.pos == 0 {
			return fmt.Sprintf("0/00/04 EOM information %d", left)
		}
		m.pos--
		if !marks && m.objects[m.pos] == nil {
			return fmt.Sprintf("0/00/01 FILEMARK information %d", left)
		}
	}
	return good
}

func (m *reel) locate(to int) string {
	m.pos = min(to, len(m.objects))
	if to > len(m.objects) {
		return "8/00/05"
	}
	return good
}

func (m *reel) locateFile(n int) string {
	for i := 0; i <= len(m.objects); i++ {
		m.pos = i
		if m.file() == n {
			return good
		}
	}
	return "8/00/05"
}

// step is one command of a random history.
type step struct {
	kind    string
	n, size int
}

var steps = rapid.Custom(func(t *rapid.T) step {
	return step{
		kind: rapid.SampledFrom([]string{"write", "write", "write", "fixed", "mark", "read", "read", "silent", "readfixed", "locate", "file", "blocks", "marks", "end", "rewind", "erase", "reload"}).Draw(t, "kind"),
		n:    rapid.IntRange(-6, 12).Draw(t, "n"),
		size: rapid.IntRange(1, 300).Draw(t, "size"),
	}
})

// TestModel compares random histories with a tape that is a slice.
func TestModel(t *testing.T) {
	for _, mode := range []string{"plain", "protected", "encrypted"} {
		t.Run(mode, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				history := rapid.SliceOfN(steps, 1, 40).Draw(rt, "history")
				var wrong error
				with(t, func(r *rig) {
					r.mount(1)
					if mode == "encrypted" {
						r.want(1, setKey(52), keyPage(2, 3, key1, ""), 0, good)
					}
					wrong = replay(r, mode == "protected", history)
				})
				if wrong != nil {
					rt.Fatal(wrong)
				}
			})
		})
	}
}

// fixedLength is the block length of the histories' fixed blocks.
const fixedLength = 100

func replay(r *rig, protected bool, history []step) error {
	if protected {
		r.want(1, "15 10 0000 24 00", append([]byte{0, 0, 0x10, 0, 0x4A, 0xF0, 0, 0x1C, 2, 4, 0xC0}, make([]byte, 25)...), 0, good)
	}
	m := &reel{}
	for i, a := range history {
		if err := play(r, m, i, a, protected); err != nil {
			return fmt.Errorf("step %d, %+v: %w", i, a, err)
		}
		p, end := r.do(1, "34 06 00 00 00 00 00 0020 00", nil, 32)
		if end != good || int(binary.BigEndian.Uint64(p[8:])) != m.pos || int(binary.BigEndian.Uint64(p[16:])) != m.file() {
			return fmt.Errorf("step %d, %+v: %s, position %x; the model says block %d, file %d", i, a, end, p, m.pos, m.file())
		}
	}
	return nil
}

// play does a step on both and compares.
func play(r *rig, m *reel, i int, a step, protected bool) error {
	ask := func(text string, want string) error {
		if _, end := r.do(1, text, nil, 0); end != want {
			return fmt.Errorf("%s: %s; the model says %s", text, end, want)
		}
		return nil
	}
	onWire := func(b []byte) []byte {
		if protected {
			return append(bytes.Clone(b), crc32c(b)...)
		}
		return b
	}
	switch a.kind {
	case "write":
		b := pattern(a.size, i)
		m.write(b)
		w := onWire(b)
		if _, end := r.do(1, write6(len(w)), w, 0); end != good {
			return fmt.Errorf("write: %s", end)
		}
		return nil
	case "fixed":
		return playFixed(r, m, i, a, onWire)
	case "mark":
		n := max(a.n%4, 0)
		for range n {
			m.write(nil)
		}
		return ask(fmt.Sprintf("10 %02X %06X 00", a.size%2, n), good)
	case "read", "silent":
		return playRead(r, m, a, protected, onWire)
	case "readfixed":
		return playReadFixed(r, m, a, onWire)
	case "locate":
		return ask(fmt.Sprintf("92 00 00 00 %016X 00 00 00 00", max(a.n, 0)), m.locate(max(a.n, 0)))
	case "file":
		return ask(fmt.Sprintf("92 08 00 00 %016X 00 00 00 00", max(a.n, 0)), m.locateFile(max(a.n, 0)))
	case "blocks":
		return ask(fmt.Sprintf("11 00 %06X 00", a.n&0xFFFFFF), m.space(false, a.n))
	case "marks":
		return ask(fmt.Sprintf("91 01 00 00 %016X 00 00 00 00", uint64(int64(a.n))), m.space(true, a.n))
	case "end":
		m.pos = len(m.objects)
		return ask("11 03 000000 00", good)
	case "rewind":
		m.pos = 0
		return ask("01 00 00 00 00 00", good)
	case "erase":
		m.objects = m.objects[:m.pos]
		return ask("19 01 00 00 00 00", good)
	}
	m.pos = 0
	if err := ask("1B 00 00 00 00 00", good); err != nil {
		return err
	}
	if err := ask("00 00 00 00 00 00", "2/04/02"); err != nil {
		return err
	}
	return ask("1B 00 00 00 01 00", good)
}

func playRead(r *rig, m *reel, a step, protected bool, onWire func([]byte) []byte) error {
	flag, n := 0, a.size
	if a.kind == "silent" {
		flag = 2
	}
	more := 0
	if protected {
		more, n = 4, a.size+4
	}
	at := m.pos
	_, want := m.read(n, flag == 2)
	var data []byte
	if at < len(m.objects) && m.objects[at] != nil {
		full := onWire(m.objects[at])
		data = full[:min(n, len(full))]
		want = good
		if len(full) != n && flag == 0 {
			want = fmt.Sprintf("0/00/00 ILI information %d", n-len(m.objects[at])-more)
		}
	}
	got, end := r.do(1, fmt.Sprintf("08 %02X %06X 00", flag, n), nil, n)
	if end != want || !bytes.Equal(got, data) {
		return fmt.Errorf("read of %d: %s, %d bytes; the model says %s, %d bytes", n, end, len(got), want, len(data))
	}
	return nil
}

func playFixed(r *rig, m *reel, i int, a step, onWire func([]byte) []byte) error {
	n := max(a.n, 0)
	if _, end := r.do(1, "15 10 0000 0C 00", blockLength(fixedLength), 0); end != good {
		return fmt.Errorf("MODE SELECT: %s", end)
	}
	var all []byte
	for k := range n {
		b := pattern(fixedLength, i+k)
		m.write(b)
		all = append(all, onWire(b)...)
	}
	_, end := r.do(1, fmt.Sprintf("0A 01 %06X 00", n), all, 0)
	_, back := r.do(1, "15 10 0000 0C 00", blockLength(0), 0)
	if end != good || back != good {
		return fmt.Errorf("WRITE fixed: %s; MODE SELECT: %s", end, back)
	}
	return nil
}

func playReadFixed(r *rig, m *reel, a step, onWire func([]byte) []byte) error {
	n := max(a.n, 0)
	each := len(onWire(make([]byte, fixedLength)))
	if _, end := r.do(1, "15 10 0000 0C 00", blockLength(fixedLength), 0); end != good {
		return fmt.Errorf("MODE SELECT: %s", end)
	}
	var data []byte
	want := good
	for left := n; left > 0 && want == good; left-- {
		b, end := m.read(fixedLength, false)
		switch {
		case end == good:
			data = append(data, onWire(b)...)
		case b != nil:
			want = fmt.Sprintf("0/00/00 ILI information %d", left)
		case m.pos < len(m.objects) || len(m.objects) > 0 && m.objects[m.pos-1] == nil && end[0] == '0':
			want = fmt.Sprintf("0/00/01 FILEMARK information %d", left)
		default:
			want = fmt.Sprintf("8/00/05 information %d", left)
		}
	}
	got, end := r.do(1, fmt.Sprintf("08 01 %06X 00", n), nil, n*each)
	_, back := r.do(1, "15 10 0000 0C 00", blockLength(0), 0)
	if end != want || back != good || !bytes.Equal(got, data) {
		return fmt.Errorf("READ fixed of %d: %s, %d bytes; the model says %s, %d bytes", n, end, len(got), want, len(data))
	}
	return nil
}

// blockLength is a MODE SELECT(6) list that sets the length of fixed blocks.
func blockLength(n int) []byte {
	return []byte{0, 0, 0x10, 8, 0, 0, 0, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)}
}
