package target_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"capstan/core/scsi"
)

// as is the rig of another initiator.
func (r *rig) as(initiator string) *rig {
	o := *r
	o.nexus = r.tgt.Nexus(initiator)
	o.settle()
	return &o
}

// pr is PERSISTENT RESERVE OUT.
func (r *rig) pr(action, kind byte, key, next uint64, end string) {
	r.t.Helper()
	c := []byte{0x5F, action, kind, 0, 0, 0, 0, 0, 24, 0}
	b := binary.BigEndian.AppendUint64(nil, key)
	b = append(binary.BigEndian.AppendUint64(b, next), make([]byte, 8)...)
	res, err := r.nexus.LUN(1).Do(r.ctx, &scsi.Command{CDB: c, Out: b})
	if got := ends(res, err); got != end {
		r.t.Errorf("%s: PERSISTENT RESERVE OUT %d, %d, %X, %X: %s; want %s", r.nexus.Initiator(), action, kind, key, next, got, end)
	}
}

const conflict = "RESERVATION CONFLICT"

func TestPersistentReservations(t *testing.T) {
	with(t, func(a *rig) {
		a.mount(1)
		b, c := a.as("b"), a.as("c")
		b.pr(1, 3, 2, 0, conflict) // not registered
		a.pr(0, 0, 0, 1, good)
		b.pr(0, 0, 7, 2, conflict)
		b.pr(0, 0, 0, 2, good)
		a.pr(1, 3, 1, 0, good) // exclusive access
		b.pr(1, 3, 2, 0, conflict)
		if k := a.want(1, "5E 00 00 00 00 00 00 0100 00", nil, 256, good); !bytes.Equal(k, cdb("00000002 00000010 0000000000000001 0000000000000002")) {
			t.Errorf("keys % X", k)
		}
		if k := a.want(1, "5E 01 00 00 00 00 00 0100 00", nil, 256, good); !bytes.Equal(k, cdb("00000002 00000010 0000000000000001 00000000 00 03 0000")) {
			t.Errorf("reservation % X", k)
		}
		for _, cmd := range []string{"00 00 00 00 00 00", "08 00 000010 00", "01 00 00 00 00 00", "1A 00 0F 00 FF 00", "16 00 00 00 00 00"} {
			b.want(1, cmd, nil, 255, conflict)
		}
		b.want(1, write6(3), []byte("abc"), 0, conflict)
		b.want(1, "12 00 00 00 60 00", nil, 96, good)
		b.pr(2, 3, 2, 0, good) // releases nothing
		b.pr(4, 3, 2, 1, good) // preempts a
		a.want(1, "00 00 00 00 00 00", nil, 0, "6/2A/05")
		a.want(1, "00 00 00 00 00 00", nil, 0, conflict)
		b.want(1, write6(3), []byte("abc"), 0, good)
		a.pr(1, 3, 1, 0, conflict)
		a.pr(6, 0, 99, 1, good) // register and ignore
		b.pr(2, 5, 2, 0, "5/26/04")
		b.pr(2, 3, 2, 0, good)

		// write exclusive, registrants only: readers are let through
		b.pr(1, 5, 2, 0, good)
		a.want(1, write6(3), []byte("abc"), 0, good)
		c.want(1, "00 00 00 00 00 00", nil, 0, good)
		c.want(1, write6(3), []byte("abc"), 0, conflict)
		b.pr(2, 5, 2, 0, good)
		a.want(1, "00 00 00 00 00 00", nil, 0, "6/2A/04")

		b.pr(1, 8, 2, 0, good) // exclusive access, all registrants
		c.want(1, "00 00 00 00 00 00", nil, 0, conflict)
		a.want(1, write6(3), []byte("abc"), 0, good)
		b.pr(3, 0, 2, 0, good) // clear
		a.want(1, "00 00 00 00 00 00", nil, 0, "6/2A/03")
		c.want(1, "00 00 00 00 00 00", nil, 0, good)
		a.want(1, "5E 02 00 00 00 00 00 0100 00", nil, 256, good)
		a.want(1, "5E 03 00 00 00 00 00 0100 00", nil, 256, good)
	})
}

func TestReserve(t *testing.T) {
	with(t, func(a *rig) {
		a.mount(1)
		b := a.as("b")
		a.want(1, "16 00 00 00 00 00", nil, 0, good)
		b.want(1, "00 00 00 00 00 00", nil, 0, conflict)
		b.want(1, "17 00 00 00 00 00", nil, 0, good) // releases nothing
		b.want(1, "00 00 00 00 00 00", nil, 0, conflict)
		if err := a.nexus.Lost(a.ctx); err != nil {
			t.Error(err)
		}
		b.want(1, "56 00 00 00 00 00 00 0000 00", nil, 0, good)
		a.nexus = a.tgt.Nexus("iqn.test:a")
		a.want(1, "00 00 00 00 00 00", nil, 0, "6/29/00")
		a.want(1, "00 00 00 00 00 00", nil, 0, conflict)
		if err := b.nexus.LUN(1).Reset(b.ctx); err != nil {
			t.Error(err)
		}
		a.want(1, "00 00 00 00 00 00", nil, 0, "6/29/03")
		b.want(1, "00 00 00 00 00 00", nil, 0, "6/29/03")
		a.want(1, "00 00 00 00 00 00", nil, 0, good)
		if err := a.tgt.Reset(a.ctx); err != nil {
			t.Error(err)
		}
		a.want(0, "00 00 00 00 00 00", nil, 0, "6/29/02")
	})
}
