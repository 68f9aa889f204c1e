package target_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/scsi"
	"capstan/sim"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

// rig is a target in a virtual world, reached by one initiator.
type rig struct {
	t     testing.TB
	ctx   context.Context
	lib   *vtl.Library
	tgt   *target.Target
	nexus *target.Nexus
}

const capacity, reserve = 4 << 20, 1 << 20

// with runs body with a new target of ten slots and two drives.
func with(t testing.TB, body func(r *rig), change ...func(c *vtl.Config, o *target.Options)) {
	t.Helper()
	w := sim.New(sim.Options{Seed: 1})
	defer w.Close()
	h := w.NewHost("library", pbx.Media)
	h.Boot()
	err := w.Do(h, "test", func(ctx context.Context, _ *host.Env) error {
		c := vtl.Demo("robot", capacity, 0)
		for i := range c.Cartridges {
			c.Cartridges[i].Reserve = reserve
		}
		c.Cartridges[7].WriteProtected = true
		c.Cartridges[6].WORM = true
		var o target.Options
		for _, f := range change {
			f(&c, &o)
		}
		lib, err := vtl.New(ctx, c, vtl.Options{})
		if err != nil {
			return err
		}
		tgt := target.New(ctx, lib, o)
		body(&rig{t, ctx, lib, tgt, tgt.Nexus("iqn.test:a")})
		return lib.Close(ctx)
	})
	if err != nil {
		t.Error(err)
	}
}

// cdb makes a CDB of hexadecimal text; blanks count for nothing.
func cdb(text string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// ends is a command's end as text: "good", "conflict" or the sense.
func ends(res scsi.Result, err error) string {
	switch {
	case err != nil:
		return "lost"
	case res.Status == scsi.CheckCondition:
		s, err := scsi.ParseSense(res.Sense)
		if err != nil {
			return err.Error()
		}
		return s.String()
	}
	return res.Status.String()
}

// do gives a command to a unit; in is how much it takes.
func (r *rig) do(lun uint64, text string, out []byte, in int) ([]byte, string) {
	r.t.Helper()
	buf := make([]byte, in)
	res, err := r.nexus.LUN(lun).Do(r.ctx, &scsi.Command{CDB: cdb(text), Out: out, In: buf})
	end := ends(res, err)
	if len(out) > 0 {
		return nil, end
	}
	return buf[:min(res.N, len(buf))], end
}

// want gives a command and compares its end.
func (r *rig) want(lun uint64, text string, out []byte, in int, end string) []byte {
	r.t.Helper()
	b, got := r.do(lun, text, out, in)
	if got != end {
		r.t.Errorf("LUN %d, %s: %s; want %s", lun, text, got, end)
	}
	return b
}

const good = "GOOD"

// settle takes all unit attentions.
func (r *rig) settle() {
	for lun := range r.tgt.Units() {
		for range 8 {
			if _, end := r.do(uint64(lun), "00 00 00 00 00 00", nil, 0); !strings.HasPrefix(end, "6/") {
				break
			}
		}
	}
}

// mount has the robot put the cartridge of a slot into the first drive.
func (r *rig) mount(slot int) {
	r.t.Helper()
	r.settle()
	r.want(0, fmt.Sprintf("A5 00 0000 %04X 0100 0000 00 00", vtl.SlotAddress(slot)), nil, 0, good)
	r.want(1, "00 00 00 00 00 00", nil, 0, "6/28/00")
	r.want(1, "00 00 00 00 00 00", nil, 0, good)
}

func write6(n int) string { return fmt.Sprintf("0A 00 %06X 00", n) }
func read6(n int) string  { return fmt.Sprintf("08 00 %06X 00", n) }

func pattern(n, seed int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + seed)
	}
	return b
}

func TestFirstCommands(t *testing.T) {
	with(t, func(r *rig) {
		r.want(1, "12 00 00 00 60 00", nil, 96, good)
		r.want(1, "00 00 00 00 00 00", nil, 0, "6/29/00")
		r.want(1, "00 00 00 00 00 00", nil, 0, "2/3A/00")
		r.want(1, "F0 00 00 00 00 00", nil, 0, "5/20/00")
		luns := r.want(0, "A0 00 00 00 00 00 00000100 00 00", nil, 256, good)
		if want := cdb("00000018 00000000 0000000000000000 0001000000000000 0002000000000000"); !bytes.Equal(luns, want) {
			t.Errorf("REPORT LUNS %x", luns)
		}
		if b := r.want(7, "12 00 00 00 60 00", nil, 96, good); b[0] != 0x7F {
			t.Errorf("INQUIRY of no unit %x", b)
		}
		r.want(7, "00 00 00 00 00 00", nil, 0, "5/25/00")
	})
}

func TestWriteAndRead(t *testing.T) {
	with(t, func(r *rig) {
		r.mount(1)
		a, b := pattern(70000, 1), pattern(333, 2)
		r.want(1, write6(len(a)), a, 0, good)
		r.want(1, write6(len(b)), b, 0, good)
		r.want(1, "10 00 000001 00", nil, 0, good)
		r.want(1, "01 00 00 00 00 00", nil, 0, good)
		if got := r.want(1, read6(len(a)), nil, len(a), good); !bytes.Equal(got, a) {
			t.Error("the first block came back otherwise")
		}
		if got := r.want(1, read6(1000), nil, 1000, "0/00/00 ILI information 667"); !bytes.Equal(got, b) {
			t.Error("the second block came back otherwise")
		}
		r.want(1, read6(1000), nil, 1000, "0/00/01 FILEMARK information 1000")
		r.want(1, read6(1000), nil, 1000, "8/00/05 information 1000")
		p := r.want(1, "34 06 00 00 00 00 00 0020 00", nil, 32, good)
		if block, file := binary.BigEndian.Uint64(p[8:]), binary.BigEndian.Uint64(p[16:]); block != 3 || file != 1 {
			t.Errorf("position: block %d, file %d", block, file)
		}
	})
}
