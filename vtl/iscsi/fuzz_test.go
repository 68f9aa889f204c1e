package iscsi_test

import (
	"io"
	"net"
	"testing"
	"time"

	"capstan/core/iscsi"
	"capstan/core/scsi"
	target "capstan/vtl/iscsi"
)

// feed sends bytes to the target after a prefix, and reads until it closes.
func feed(t *testing.T, at string, parts ...[]byte) {
	nc, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	for _, p := range parts {
		nc.Write(p) // it may have closed already
	}
	nc.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, nc) // a reset is as good an end as another
}

// settled waits until all that a connection had is given back.
func settled(t *testing.T, tg *target.Target) {
	for range 1000 {
		if tg.InUse() == 0 && tg.Sessions() == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%d bytes and %d sessions are left", tg.InUse(), tg.Sessions())
}

func loginBytes(flags uint8, text []byte) []byte {
	h := iscsi.New(iscsi.LoginRequest, flags, 0)
	h[0] |= 0x40
	h[8] = 0x80
	h.Set(24, 1)
	h.SetDataLen(len(text))
	return append(append(h[:], text...), make([]byte, iscsi.Padding(len(text)))...)
}

// FuzzPDUs: whatever comes after a login, the target ends the connection in good
// order, and nothing of it is left.
func FuzzPDUs(f *testing.F) {
	fake := newFake()
	close(fake.hang)
	go func() {
		for range fake.working {
		}
	}()
	at, tg, _ := serveTarget(f, target.Config{Units: fake, Limits: target.Limits{Bytes: 64 << 20}})
	login := loginBytes(toFullFeature, iscsi.AppendText(nil, normal(iscsi.Pair{Key: "InitialR2T", Value: "No"})...))
	r := &raw{cmdSN: 1}
	write := r.command(0, iscsi.Write, 16, transfer(scsi.Write6, 16))
	write.SetDataLen(4)
	out := iscsi.New(iscsi.DataOut, iscsi.Final, 1)
	out.Set(20, iscsi.NoTag)
	out.Set(40, 4)
	out.SetDataLen(12)
	f.Add(append(append(append(write[:], "data"...), out[:]...), "and the rest"...))
	read := r.command(1, iscsi.Final|iscsi.Read, 64, transfer(scsi.Read6, 64))
	abort := r.tmf(1, 1, r.tag-1)
	f.Add(append(read[:], abort[:]...))
	text := iscsi.New(iscsi.TextRequest, iscsi.Final, 4)
	text.Set(20, iscsi.NoTag)
	text.Set(24, 1)
	text.SetDataLen(16)
	f.Add(append(text[:], "SendTargets=All\x00"...))
	long := r.command(0, iscsi.Final, 0, make([]byte, 16))
	long[4] = 2
	f.Add(append(long[:], 0, 5, 1, 0, 1, 2, 3, 4))
	reset := r.tmf(5, 0, iscsi.NoTag)
	f.Add(append(reset[:], abort[:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		feed(t, at, login, b)
		settled(t, tg)
		fake.mu.Lock()
		fake.blocks, fake.order, fake.lost, fake.resets = [2][][]byte{}, nil, nil, nil
		fake.next = [2]int{}
		fake.mu.Unlock()
	})
}

// FuzzLogin: whatever the text of a login is, in either stage, nobody gets in who
// has not proven a secret, and nothing is left.
func FuzzLogin(f *testing.F) {
	units := newFake()
	at, tg, _ := serveTarget(f, target.Config{Units: units, Accounts: map[string]string{"host1": "a secret of 24 bytes ..."}})
	f.Add(uint8(0x81), iscsi.AppendText(nil, normal(iscsi.Pair{Key: "AuthMethod", Value: "CHAP,None"})...), []byte("CHAP_A=5\x00"), []byte("CHAP_N=host1\x00CHAP_R=0x00\x00"))
	f.Add(uint8(0x87), iscsi.AppendText(nil, normal(iscsi.Pair{Key: "MaxBurstLength", Value: "0x1000"})...), []byte("CHAP_R=0b!\x00"), []byte("=\x00"))
	f.Fuzz(func(t *testing.T, flags uint8, a, b, c []byte) {
		feed(t, at, loginBytes(flags, a[:min(len(a), 8192)]), loginBytes(flags, b[:min(len(b), 8192)]), loginBytes(flags, c[:min(len(c), 8192)]))
		settled(t, tg)
		units.mu.Lock()
		defer units.mu.Unlock()
		if len(units.lost) != 0 {
			t.Error("somebody got in")
		}
	})
}
