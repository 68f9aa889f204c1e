package iscsi_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"capstan/core/iscsi"
	"capstan/core/scsi"
	target "capstan/vtl/iscsi"
)

// write sends a WRITE of n bytes that all are b, with all its data in the command.
func (r *raw) write(lun uint64, b byte, n int) {
	r.send(r.command(lun, iscsi.Final|iscsi.Write, n, transfer(scsi.Write6, n)), bytes.Repeat([]byte{b}, n))
}

// Commands on several connections of a session are carried out in the order of
// their numbers.
func TestOrderOverConnections(t *testing.T) {
	f := newFake()
	at, _ := serve(t, target.Config{Units: f})
	a := connect(t, at)
	a.login(iscsi.Pair{Key: "MaxConnections", Value: "3"})
	b := connect(t, at)
	b.tsih, b.cid = a.tsih, 1
	b.login()
	const n = 12
	for i := n; i >= 1; i-- { // the last number comes first
		r := a
		if i%2 == 0 {
			r = b
		}
		r.cmdSN = uint32(i)
		r.write(0, byte(i), 16)
		// It arrives before the next is sent: it is answered in its turn only.
		if i > 1 {
			r.ping()
		}
	}
	for i := range n {
		if r := []*raw{a, b}[i%2]; r.want(iscsi.Response).Header[3] != 0 {
			t.Fatal("a command failed")
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	want := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	if !slices.Equal(f.order, want) {
		t.Errorf("the order is %v", f.order)
	}
}

// A connection that breaks takes its session along; one that logs out does not.
func TestConnectionsEnd(t *testing.T) {
	at, _ := serve(t, target.Config{Units: newFake()})
	a := connect(t, at)
	a.login(iscsi.Pair{Key: "MaxConnections", Value: "2"})
	b := connect(t, at)
	b.tsih, b.cid = a.tsih, 1
	b.login()
	h := iscsi.New(iscsi.LogoutReq, iscsi.Final|1, 9)
	h[0] |= 0x40
	h.SetHalf(20, 1)
	b.send(h, nil)
	if p := b.want(iscsi.LogoutResp); p.Header[2] != 0 {
		t.Errorf("logout: response %d", p.Header[2])
	}
	b.wantClosed()
	a.send(a.command(0, iscsi.Final, 0, make([]byte, 6)), nil)
	a.want(iscsi.Response)

	c := connect(t, at)
	c.tsih, c.cid = a.tsih, 1
	c.login()
	c.nc.Close()
	a.wantClosed()
}

// Two connections that log each other out at once both end: neither waits for the other.
func TestLogOutEachOther(t *testing.T) {
	at, tg, stop := serveTarget(t, target.Config{Units: newFake()})
	a := connect(t, at)
	a.login(iscsi.Pair{Key: "MaxConnections", Value: "2"})
	b := connect(t, at)
	b.tsih, b.cid = a.tsih, 1
	b.login()
	release := tg.Hold(a.tsih)
	for cid, r := range []*raw{b, a} { // each the other
		h := iscsi.New(iscsi.LogoutReq, iscsi.Final|1, 9)
		h[0] |= 0x40
		h.SetHalf(20, uint16(cid))
		r.send(h, nil)
	}
	time.Sleep(50 * time.Millisecond) // both are in hand, as a rule
	release()
	stop()
}

// The window: no more commands than it has are taken, and it moves on.
func TestWindow(t *testing.T) {
	f := newFake()
	at, _ := serve(t, target.Config{Units: f, Limits: target.Limits{Queue: 4}})
	r := connect(t, at)
	r.login()
	r.send(r.command(0, iscsi.Final, 0, []byte{scsi.Rewind, 0, 0, 0, 0, 0}), nil)
	<-f.working // and hangs
	for i := range 6 {
		r.write(0, byte(i), 8) // the last three are beyond the window, and ignored
	}
	r.ping() // all have come
	close(f.hang)
	var last pdu
	for range 4 {
		last = r.want(iscsi.Response)
	}
	if exp, most := last.Word(28), last.Word(32); exp != 5 || most != 8 {
		t.Errorf("the window is %d to %d, want 5 to 8", exp, most)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.order, []byte{0, 1, 2}) {
		t.Errorf("carried out: %v", f.order)
	}
}

// An aborted command that has not begun never does; one that a device works on ends
// before the abort is answered, and has no answer of its own.
func TestAbort(t *testing.T) {
	f := newFake()
	at, _ := serve(t, target.Config{Units: f})
	r := connect(t, at)
	r.login()
	r.send(r.command(0, iscsi.Final, 0, []byte{scsi.Rewind, 0, 0, 0, 0, 0}), nil)
	rewind := r.tag
	<-f.working
	r.write(0, 1, 8)
	queued := r.tag
	r.write(0, 2, 8)
	r.send(r.tmf(1, 0, queued), nil)
	if p := r.want(iscsi.TaskResponse); p.Header[2] != 0 {
		t.Errorf("ABORT TASK of a command that waits: response %d", p.Header[2])
	}
	r.send(r.tmf(1, 0, 0xABCD), nil)
	if p := r.want(iscsi.TaskResponse); p.Header[2] != 1 {
		t.Errorf("ABORT TASK of none: response %d", p.Header[2])
	}
	r.send(r.tmf(1, 0, rewind), nil)
	r.send(r.tmf(8, 0, rewind), nil)
	if p := r.want(iscsi.TaskResponse); p.Header[2] != 4 {
		t.Errorf("TASK REASSIGN: response %d", p.Header[2])
	}
	close(f.hang)
	var ops []iscsi.Opcode
	for range 2 {
		p, err := r.read()
		if err != nil {
			t.Fatal(err)
		}
		if p.Tag() == rewind || p.Tag() == queued {
			t.Errorf("an aborted command is answered: % X", p.Header)
		}
		ops = append(ops, p.Opcode())
	}
	slices.Sort(ops)
	if !slices.Equal(ops, []iscsi.Opcode{iscsi.Response, iscsi.TaskResponse}) {
		t.Errorf("answers: %v", ops)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.order, []byte{2}) {
		t.Errorf("written: %v, want the command that was not aborted", f.order)
	}
}

// Aborts that wait for a device are bounded: one more is rejected.
func TestAbortsAreBounded(t *testing.T) {
	f := newFake()
	at, _ := serve(t, target.Config{Units: f})
	r := connect(t, at)
	r.login()
	r.send(r.command(0, iscsi.Final, 0, []byte{scsi.Rewind, 0, 0, 0, 0, 0}), nil)
	<-f.working
	rewind := r.tag
	for range 8 {
		r.send(r.tmf(1, 0, rewind), nil)
	}
	r.send(r.tmf(1, 0, rewind), nil)
	if p := r.want(iscsi.Reject); p.Header[2] != 0x06 {
		t.Errorf("reason %02Xh", p.Header[2])
	}
	close(f.hang)
	for range 8 {
		if p := r.want(iscsi.TaskResponse); p.Header[2] != 0 {
			t.Errorf("response %d", p.Header[2])
		}
	}
	r.ping()
}

// A target that stops does not wait for an initiator that reads nothing.
func TestStopWithAnInitiatorThatDoesNotRead(t *testing.T) {
	f := newFake()
	at, stop := serve(t, target.Config{Units: f})
	r := connect(t, at)
	r.login()
	f.mu.Lock()
	for range 64 {
		f.blocks[0] = append(f.blocks[0], make([]byte, 1<<20))
	}
	f.mu.Unlock()
	for range 30 {
		r.send(r.command(0, iscsi.Final|iscsi.Read, 1<<20, transfer(scsi.Read6, 1<<20)), nil)
	}
	stop() // it fails the test if that takes long
}

// A reset reaches the commands of other initiators, who are told, and the unit.
func TestResets(t *testing.T) {
	for _, tt := range []struct {
		name     string
		function uint8
		lun      uint64
		reset    int
	}{{"LUN RESET", 5, 0, 0}, {"TARGET WARM RESET", 6, 0, -1}, {"CLEAR TASK SET", 4, 0, -2}, {"TARGET COLD RESET", 7, 0, -1}} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			at, _ := serve(t, target.Config{Units: f})
			r, other := connect(t, at), connect(t, at)
			other.isid = 5
			r.login()
			other.login()
			other.send(other.command(0, iscsi.Final, 0, []byte{scsi.Rewind, 0, 0, 0, 0, 0}), nil)
			<-f.working
			other.write(0, 7, 8)
			other.ping() // the write has come
			r.send(r.tmf(tt.function, tt.lun, iscsi.NoTag), nil)
			time.AfterFunc(50*time.Millisecond, func() { close(f.hang) })
			if p := r.want(iscsi.TaskResponse); p.Header[2] != 0 {
				t.Errorf("response %d", p.Header[2])
			}
			for range 2 {
				if tt.function == 7 {
					break // its connections end at once
				}
				if p := other.want(iscsi.Response); scsi.Status(p.Header[3]) != scsi.TaskAborted {
					t.Errorf("the other's command: %v", scsi.Status(p.Header[3]))
				}
			}
			if tt.function == 7 {
				other.wantClosed()
				r.wantClosed()
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.order) != 0 {
				t.Errorf("written after the reset: %v", f.order)
			}
			if tt.reset != -2 && !slices.Equal(f.resets, []int{tt.reset}) || tt.reset == -2 && len(f.resets) > 0 {
				t.Errorf("resets of units: %v", f.resets)
			}
		})
	}
}

// An initiator that vanishes is asked whether it is there, and then forgotten; one
// that answers stays.
func TestVanished(t *testing.T) {
	f := newFake()
	at, _ := serve(t, target.Config{Units: f, Timeouts: target.Timeouts{Idle: 500 * time.Millisecond}})
	r := connect(t, at)
	r.login()
	for range 3 {
		p := r.want(iscsi.NopIn)
		h := iscsi.New(iscsi.NopOut, iscsi.Final, iscsi.NoTag)
		h[0] |= 0x40
		h.Set(20, p.TransferTag())
		r.send(h, nil)
	}
	r.wantClosed() // it answers no more
	for range 100 {
		f.mu.Lock()
		n := len(f.lost)
		f.mu.Unlock()
		if n == 1 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the nexus is still there")
}

// Data of a command that does not come ends the connection, not the target.
func TestDataThatDoesNotCome(t *testing.T) {
	f := newFake()
	at, _ := serve(t, target.Config{Units: f, Timeouts: target.Timeouts{Data: 100 * time.Millisecond}})
	r := connect(t, at)
	r.login()
	r.send(r.command(0, iscsi.Final|iscsi.Write, 1000, transfer(scsi.Write6, 1000)), nil)
	r.want(iscsi.R2T)
	r.wantClosed()
	connect(t, at).login()
	if len(f.order) != 0 {
		t.Error("half a command was carried out")
	}
}

// What all commands hold together is bounded: one beyond is answered TASK SET FULL.
func TestMemoryIsBounded(t *testing.T) {
	at, _ := serve(t, target.Config{Units: newFake(), Limits: target.Limits{Bytes: 4 << 20}})
	r := connect(t, at)
	r.login()
	for i := range 4 {
		r.send(r.command(uint64(i%2), iscsi.Final|iscsi.Write, 1<<20, transfer(scsi.Write6, 1<<20)), nil)
		r.want(iscsi.R2T)
	}
	r.send(r.command(300, iscsi.Final|iscsi.Write, 1<<20, transfer(scsi.Write6, 1<<20)), nil)
	if p := r.want(iscsi.Response); scsi.Status(p.Header[3]) != scsi.TaskSetFull {
		t.Errorf("a command that finds the memory full: %v", scsi.Status(p.Header[3]))
	}
	r.send(r.command(300, iscsi.Final|iscsi.Write, 17<<20, transfer(scsi.Write6, 0)), nil)
	if p := r.want(iscsi.Response); scsi.Status(p.Header[3]) != scsi.CheckCondition {
		t.Errorf("a command of 17 MiB: %v", scsi.Status(p.Header[3]))
	}
}

// What breaks the protocol is rejected, and ends the connection where nothing else
// can follow.
func TestHostilePDUs(t *testing.T) {
	tests := []struct {
		name   string
		do     func(r *raw)
		reason uint8 // of the rejection; 0 is none
		open   bool  // the connection goes on
	}{
		{"unknown PDU", func(r *raw) { r.send(iscsi.New(0x1C, iscsi.Final, 1), []byte("abc")) }, 0x05, true},
		{"SNACK", func(r *raw) { r.send(iscsi.New(iscsi.Snack, iscsi.Final, 1), nil) }, 0x03, true},
		{"login again", func(r *raw) { r.send(iscsi.New(iscsi.LoginRequest, iscsi.Final, 1), nil) }, 0x04, false},
		{"a tag twice", func(r *raw) {
			r.send(r.command(0, iscsi.Final|iscsi.Write, 100, transfer(scsi.Write6, 100)), nil)
			r.want(iscsi.R2T)
			h := r.command(0, iscsi.Final, 0, make([]byte, 6))
			h.Set(16, r.tag-1)
			r.send(h, nil)
		}, 0x07, true},
		{"data with a read", func(r *raw) {
			r.send(r.command(0, iscsi.Final|iscsi.Read, 100, transfer(scsi.Read6, 100)), []byte("data"))
		}, 0x04, false},
		{"more immediate data than expected", func(r *raw) {
			r.send(r.command(0, iscsi.Final|iscsi.Write, 4, transfer(scsi.Write6, 4)), []byte("hello"))
		}, 0x04, false},
		{"unsolicited data that was not agreed on", func(r *raw) {
			r.send(r.command(0, iscsi.Write, 4, transfer(scsi.Write6, 4)), nil)
		}, 0x04, false},
		{"data out of place", func(r *raw) {
			r.send(r.command(0, iscsi.Final|iscsi.Write, 100, transfer(scsi.Write6, 100)), nil)
			p := r.want(iscsi.R2T)
			h := iscsi.New(iscsi.DataOut, iscsi.Final, r.tag)
			h.Set(20, p.TransferTag())
			h.Set(40, 50)
			r.send(h, make([]byte, 50))
		}, 0x04, false},
		{"less data than asked for", func(r *raw) {
			r.send(r.command(0, iscsi.Final|iscsi.Write, 100, transfer(scsi.Write6, 100)), nil)
			p := r.want(iscsi.R2T)
			h := iscsi.New(iscsi.DataOut, iscsi.Final, r.tag)
			h.Set(20, p.TransferTag())
			r.send(h, make([]byte, 50))
		}, 0x04, false},
		{"segment too long", func(r *raw) {
			h := r.command(0, iscsi.Final|iscsi.Write, 1<<20, transfer(scsi.Write6, 1<<20))
			h.SetDataLen(1<<20 + 1)
			r.nc.Write(h[:])
		}, 0x04, false},
		{"a CDB cut short", func(r *raw) {
			h := r.command(0, iscsi.Final, 0, make([]byte, 6))
			h[4] = 1
			r.nc.Write(append(h[:], 0xFF, 0xFF, 1, 0))
		}, 0x04, false},
		{"bad text", func(r *raw) {
			h := iscsi.New(iscsi.TextRequest, iscsi.Final, 3)
			h[0] |= 0x40
			h.Set(20, iscsi.NoTag)
			r.send(h, []byte("no key"))
		}, 0x04, false},
		{"data for no command", func(r *raw) { r.send(iscsi.New(iscsi.DataOut, iscsi.Final, 77), []byte("late")) }, 0, true},
	}
	at, _ := serve(t, target.Config{Units: newFake()})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := connect(t, at)
			r.login(iscsi.Pair{Key: "InitialR2T", Value: "Yes"}, iscsi.Pair{Key: "HeaderDigest", Value: "None"})
			tt.do(r)
			if tt.reason != 0 {
				if p := r.want(iscsi.Reject); p.Header[2] != tt.reason || len(p.data) != iscsi.HeaderLen {
					t.Errorf("reason %02Xh with %d bytes, want %02Xh with the header", p.Header[2], len(p.data), tt.reason)
				}
			}
			if !tt.open {
				r.wantClosed()
				return
			}
			r.ping()
		})
	}
}

// A PDU whose digest is wrong ends the connection.
func TestDigestErrors(t *testing.T) {
	at, _ := serve(t, target.Config{Units: newFake()})
	r := connect(t, at)
	r.login(iscsi.Pair{Key: "DataDigest", Value: "CRC32C"})
	h := r.command(0, iscsi.Final|iscsi.Write, 4, transfer(scsi.Write6, 4))
	h.SetDataLen(4)
	r.nc.Write(append(h[:], 'd', 'a', 't', 'a', 1, 2, 3, 4))
	p, err := r.read()
	if err != nil || p.Opcode() != iscsi.Reject || p.Header[2] != 0x02 {
		t.Errorf("a wrong data digest: % X, %v", p.Header, err)
	}
	r.wantClosed()
	r = connect(t, at)
	r.login(iscsi.Pair{Key: "HeaderDigest", Value: "CRC32C"})
	h = r.command(0, iscsi.Final, 0, make([]byte, 6))
	r.nc.Write(append(h[:], 1, 2, 3, 4))
	r.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		if _, err := r.read(); err != nil {
			break
		}
	}
}
