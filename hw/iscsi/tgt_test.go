package iscsi_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"capstan/core/scsi"
	"capstan/hw/iscsi"
	"capstan/hw/iscsi/tgttest"
)

const name = "iqn.2001-04.com.example:host1"

// settle asks until the unit has told what it owed at the session's begin.
func settle(t *testing.T, u scsi.Transport) {
	t.Helper()
	for range 5 {
		if r := do(t, u, &scsi.Command{CDB: make([]byte, 6)}); r.Status == scsi.Good {
			return
		}
	}
	t.Fatal("the drive does not become ready")
}

func do(t *testing.T, u scsi.Transport, c *scsi.Command) scsi.Result {
	t.Helper()
	r, err := u.Do(context.Background(), c)
	if err != nil {
		t.Fatalf("command %02Xh: %v", c.CDB[0], err)
	}
	return r
}

// A target that nobody here wrote understands us: blocks around each limit of what
// was agreed on come back, with digests and without.
func TestBlocksThroughTgt(t *testing.T) {
	at := tgttest.Start(t, 100, "", "")
	for _, digests := range []bool{false, true} {
		s, err := iscsi.Dial(context.Background(), iscsi.Config{Address: at, Initiator: name, Target: tgttest.Target, HeaderDigest: digests, DataDigest: digests})
		if err != nil {
			t.Fatal(err)
		}
		u := s.LUN(1)
		settle(t, u)
		in := make([]byte, 64)
		if r := do(t, u, &scsi.Command{CDB: []byte{scsi.Inquiry, 0, 0, 0, 64, 0}, In: in}); r.Status != scsi.Good || in[0]&0x1F != byte(scsi.Sequential) {
			t.Errorf("INQUIRY: %+v, % X", r, in)
		}
		do(t, u, &scsi.Command{CDB: []byte{scsi.Rewind, 0, 0, 0, 0, 0}})
		sizes := []int{512, 8192, 8193, 65536, 65537, 1 << 20}
		for i, n := range sizes {
			out := bytes.Repeat([]byte{byte(i), 7, byte(n)}, n)[:n]
			if r := do(t, u, &scsi.Command{CDB: []byte{scsi.Write6, 0, byte(n >> 16), byte(n >> 8), byte(n), 0}, Out: out}); r.Status != scsi.Good {
				t.Fatalf("writing %d bytes: %+v", n, r)
			}
		}
		do(t, u, &scsi.Command{CDB: []byte{scsi.Rewind, 0, 0, 0, 0, 0}})
		for i, n := range sizes {
			in := make([]byte, n)
			r := do(t, u, &scsi.Command{CDB: []byte{scsi.Read6, 0, byte(n >> 16), byte(n >> 8), byte(n), 0}, In: in})
			if r.Status != scsi.Good || !bytes.Equal(in, bytes.Repeat([]byte{byte(i), 7, byte(n)}, n)[:n]) {
				t.Errorf("reading %d bytes: %+v, or other bytes", n, r)
			}
		}
		// At the end of data the drive has something to say.
		r := do(t, u, &scsi.Command{CDB: []byte{scsi.Read6, 0, 0, 2, 0, 0}, In: make([]byte, 512)})
		if sense, err := scsi.ParseSense(r.Sense); err != nil || sense.Key != scsi.BlankCheck {
			t.Errorf("reading at the end: %+v, %v", r, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestChapWithTgt(t *testing.T) {
	const secret = "fourteen bytes"
	at := tgttest.Start(t, 10, "host1", secret)
	cfg := iscsi.Config{Address: at, Initiator: name, Target: tgttest.Target, User: "host1", Secret: secret}
	s, err := iscsi.Dial(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, s.LUN(1))
	s.Close()
	cfg.Secret = "another secret"
	if _, err := iscsi.Dial(context.Background(), cfg); !errors.Is(err, iscsi.ErrLogin) {
		t.Errorf("a wrong secret: %v", err)
	}
	targets, err := iscsi.Discover(context.Background(), iscsi.Config{Address: at, Initiator: name})
	if err != nil || len(targets) != 1 || targets[0].Name != tgttest.Target {
		t.Errorf("discovery: %v, %v", targets, err)
	}
}
