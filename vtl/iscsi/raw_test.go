package iscsi_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"capstan/core/iscsi"
	"capstan/core/scsi"
)

// raw is an initiator that does what a test says, right or wrong.
type raw struct {
	t     testing.TB
	nc    net.Conn
	isid  byte
	cid   uint16
	tsih  uint16
	cmdSN uint32
	tag   uint32
}

// pdu is a PDU that came.
type pdu struct {
	iscsi.Header
	data []byte
}

func connect(t testing.TB, at string) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second)) // a test that hangs fails
	return &raw{t: t, nc: nc, cmdSN: 1}
}

func (r *raw) send(h iscsi.Header, data []byte) {
	r.t.Helper()
	h.SetDataLen(len(data))
	b := append(h[:], data...)
	b = append(b, make([]byte, iscsi.Padding(len(data)))...)
	if _, err := r.nc.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) read() (pdu, error) {
	var p pdu
	if _, err := io.ReadFull(r.nc, p.Header[:]); err != nil {
		return p, err
	}
	n := p.DataLen()
	p.data = make([]byte, n+iscsi.Padding(n))
	_, err := io.ReadFull(r.nc, p.data)
	p.data = p.data[:n]
	return p, err
}

// want reads the next PDU, which must be of a kind.
func (r *raw) want(op iscsi.Opcode) pdu {
	r.t.Helper()
	p, err := r.read()
	if err != nil {
		r.t.Fatalf("waiting for PDU %02Xh: %v", uint8(op), err)
	}
	if p.Opcode() != op {
		r.t.Fatalf("PDU %02Xh came, not %02Xh: % X %q", uint8(p.Opcode()), uint8(op), p.Header, p.data)
	}
	return p
}

// wantClosed waits until the target has closed the connection.
func (r *raw) wantClosed() {
	r.t.Helper()
	for {
		if p, err := r.read(); err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				r.t.Fatal("the connection is still open")
			}
			return
		} else if p.Opcode() == iscsi.Response && scsi.Status(p.Header[3]) != scsi.TaskAborted {
			r.t.Fatalf("a response came: % X", p.Header)
		}
	}
}

// ask sends a login request of a stage and reads the response.
func (r *raw) ask(flags uint8, pairs ...iscsi.Pair) pdu {
	r.t.Helper()
	h := iscsi.New(iscsi.LoginRequest, flags, 0)
	h[0] |= 0x40
	h[8], h[13] = 0x80, r.isid
	h.SetHalf(14, r.tsih)
	h.SetHalf(20, r.cid)
	h.Set(24, r.cmdSN)
	r.send(h, iscsi.AppendText(nil, pairs...))
	return r.want(iscsi.LoginResponse)
}

func normal(pairs ...iscsi.Pair) []iscsi.Pair {
	return append([]iscsi.Pair{{Key: "InitiatorName", Value: ourName}, {Key: "TargetName", Value: targetName}, {Key: "SessionType", Value: "Normal"}}, pairs...)
}

// toFullFeature is a login request of the operational stage that ends the login.
const toFullFeature = iscsi.Final | iscsi.OperationalStage<<2 | iscsi.FullFeature

// login logs in with some keys, at once.
func (r *raw) login(pairs ...iscsi.Pair) map[string]string {
	r.t.Helper()
	if r.tsih == 0 {
		pairs = normal(pairs...)
	} else { // a further connection has no keys of the session
		pairs = append([]iscsi.Pair{{Key: "InitiatorName", Value: ourName}, {Key: "TargetName", Value: targetName}}, pairs...)
	}
	p := r.ask(toFullFeature, pairs...)
	if s := p.Half(36); s != 0 {
		r.t.Fatalf("the login is refused: %04Xh", s)
	}
	if !p.Has(iscsi.Final) || p.Header[1]&3 != iscsi.FullFeature {
		r.t.Fatalf("the login goes on: % X", p.Header)
	}
	r.tsih = p.Half(14)
	all, err := iscsi.ParseText(p.data)
	if err != nil {
		r.t.Fatal(err)
	}
	m := map[string]string{}
	for _, a := range all {
		m[a.Key] = a.Value
	}
	return m
}

// command is a SCSI command of a unit, with the next number and a new tag.
func (r *raw) command(lun uint64, flags uint8, length int, cdb []byte) iscsi.Header {
	r.tag++
	h := iscsi.New(iscsi.Command, flags, r.tag)
	h.SetLUN(lun)
	h.Set(20, uint32(length))
	h.Set(24, r.cmdSN)
	copy(h[32:], cdb)
	r.cmdSN++
	return h
}

// tmf is a task management request, for immediate delivery.
func (r *raw) tmf(function uint8, lun uint64, ref uint32) iscsi.Header {
	r.tag++
	h := iscsi.New(iscsi.TaskRequest, iscsi.Final|function, r.tag)
	h[0] |= 0x40
	h.SetLUN(lun)
	h.Set(20, ref)
	h.Set(24, r.cmdSN)
	h.Set(32, r.cmdSN)
	return h
}

// status is what a response says, with its sense key and code.
func (p *pdu) status() (scsi.Status, uint8, uint8) {
	if len(p.data) < 2+14 {
		return scsi.Status(p.Header[3]), 0, 0
	}
	n := binary.BigEndian.Uint16(p.data)
	s, err := scsi.ParseSense(p.data[2 : 2+n])
	if err != nil {
		return scsi.Status(p.Header[3]), 0xFF, 0xFF
	}
	return scsi.Status(p.Header[3]), s.Key, s.ASC
}

// ping sends a NOP and waits for its answer: what was sent before it has come.
func (r *raw) ping() {
	r.t.Helper()
	r.tag++
	h := iscsi.New(iscsi.NopOut, iscsi.Final, r.tag)
	h[0] |= 0x40
	r.send(h, []byte("ping"))
	if p := r.want(iscsi.NopIn); p.Tag() != r.tag || string(p.data) != "ping" {
		r.t.Fatalf("another ping came back: % X %q", p.Header, p.data)
	}
}
