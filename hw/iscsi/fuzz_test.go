package iscsi_test

import (
	"context"
	"net"
	"testing"
	"time"

	proto "capstan/core/iscsi"
	"capstan/core/scsi"
	"capstan/hw/iscsi"
)

// loginAnswer is the response to a login request that goes on to a stage.
func loginAnswer(stage, next uint8, text string) []byte {
	h := proto.New(proto.LoginResponse, proto.Final|stage<<2|next, 0)
	h.SetDataLen(len(text))
	h.Set(28, 1)
	h.Set(32, 8)
	return append(append(h[:], text...), make([]byte, proto.Padding(len(text)))...)
}

// FuzzTarget: whatever a target sends, at login or after it, the initiator's command
// ends, and what is read is not more than was wanted.
func FuzzTarget(f *testing.F) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	login := append(loginAnswer(proto.SecurityStage, proto.OperationalStage, "AuthMethod=None\x00"), loginAnswer(proto.OperationalStage, proto.FullFeature, "InitialR2T=No\x00")...)
	data := proto.New(proto.DataIn, proto.Final|proto.HasStatus, 1)
	data.SetDataLen(16)
	data.Set(32, 9)
	f.Add(append(append(append([]byte{}, login...), data[:]...), "sixteen bytes..."...))
	r2t := proto.New(proto.R2T, proto.Final, 1)
	r2t.Set(44, 16)
	f.Add(append(append([]byte{}, login...), r2t[:]...))
	sense := proto.New(proto.Response, proto.Final|proto.Underflow, 1)
	sense[3] = 2
	sense.SetDataLen(4)
	f.Add(append(append(append([]byte{}, login...), sense[:]...), 0, 200, 0x70, 0))
	f.Add([]byte("nothing that a target says"))
	f.Fuzz(func(t *testing.T, b []byte) {
		go func() {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			defer nc.Close()
			nc.Write(b)
			nc.(*net.TCPConn).CloseWrite()
			nc.SetReadDeadline(time.Now().Add(10 * time.Second))
			for p := make([]byte, 4096); err == nil; {
				_, err = nc.Read(p)
			}
		}()
		s, err := iscsi.Dial(context.Background(), iscsi.Config{Address: l.Addr().String(), Initiator: name, Target: name, Timeout: 10 * time.Second})
		if err != nil {
			return
		}
		defer s.Close()
		c := &scsi.Command{CDB: make([]byte, 6), In: make([]byte, 16)}
		if r, err := s.LUN(0).Do(context.Background(), c); err == nil && (r.N < 0 || r.N > len(c.In)) {
			t.Errorf("%d bytes of %d", r.N, len(c.In))
		}
	})
}
