package vtlserve_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/hw/iscsi"
	"capstan/internal/vtlserve"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

// served is a library that is offered, with a session of an initiator.
type served struct {
	t      *testing.T
	offer  vtlserve.Offer
	s      *iscsi.Session
	socket string
	stop   func()
}

// offer offers a library of which the cartridges are in a directory, and logs in.
func offer(t *testing.T, dir string) *served {
	t.Helper()
	run, err := os.MkdirTemp("", "vtl") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	started := make(chan vtlserve.Offer, 1)
	cfg := vtlserve.Config{
		Library: vtl.Demo("vtl1", 64<<20, 0), Dir: dir, Listen: "127.0.0.1:0", Socket: filepath.Join(run, "s", "vtl1"),
		Log: slog.New(slog.DiscardHandler), Started: func(o vtlserve.Offer) { started <- o },
	}
	cfg.ISCSI.Name = vtlserve.Name("vtl1")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- vtlserve.Run(ctx, &cfg) }()
	v := &served{t: t, socket: cfg.Socket}
	select {
	case v.offer = <-started:
	case err := <-done:
		t.Fatal(err)
	}
	ended := false
	v.stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(v.stop)
	v.s, err = iscsi.Dial(context.Background(), iscsi.Config{Address: v.offer.Address, Initiator: "iqn.2001-04.com.example:host1", Target: v.offer.Target})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.s.Close() })
	return v
}

func (v *served) disturb(q vtlserve.Request) vtlserve.Reply {
	v.t.Helper()
	r, err := vtlserve.Disturb(context.Background(), v.socket, &q)
	if err != nil {
		v.t.Fatalf("%+v: %v", q, err)
	}
	return r
}

// do gives a command and returns its sense data, of a zero key if it was good.
func (v *served) do(lun uint64, c *scsi.Command) scsi.Sense {
	v.t.Helper()
	r, err := v.s.LUN(lun).Do(context.Background(), c)
	if err != nil {
		v.t.Fatal(err)
	}
	if r.Status == scsi.Good {
		return scsi.Sense{}
	}
	s, err := scsi.ParseSense(r.Sense)
	if err != nil {
		v.t.Fatalf("%v: %v", r.Status, err)
	}
	return s
}

// until repeats a command until it is good.
func (v *served) until(lun uint64, cdb ...byte) {
	v.t.Helper()
	var s scsi.Sense
	for range 10 {
		if s = v.do(lun, &scsi.Command{CDB: cdb}); s == (scsi.Sense{}) {
			return
		}
	}
	v.t.Fatalf("command %02Xh: %v", cdb[0], &s)
}

func (v *served) move(from, to int) {
	v.t.Helper()
	cdb := make([]byte, 12)
	cdb[0] = scsi.MoveMedium
	binary.BigEndian.PutUint16(cdb[4:], uint16(from))
	binary.BigEndian.PutUint16(cdb[6:], uint16(to))
	v.until(0, cdb...)
}

func block(op uint8, n int) []byte {
	return []byte{op, 0, byte(n >> 16), byte(n >> 8), byte(n), 0}
}

// What is done to the library while it runs is what an initiator meets.
func TestDisturbed(t *testing.T) {
	v := offer(t, "")
	v.move(vtl.FirstSlot, vtl.FirstDrive)
	v.until(1, 0, 0, 0, 0, 0, 0)
	drive := v.offer.Units[1].Name
	out := bytes.Repeat([]byte("tape"), 256)
	write := &scsi.Command{CDB: block(scsi.Write6, len(out)), Out: out}

	v.disturb(vtlserve.Request{Injection: &target.Injection{Unit: drive, Opcodes: []int{scsi.Write6}, Skip: 1, Status: scsi.CheckCondition,
		Sense: scsi.Sense{Sense: dev.Sense{Key: scsi.MediumError, ASC: 0x0C}}}})
	if s := v.do(1, write); s != (scsi.Sense{}) {
		t.Errorf("the write that is let through: %v", &s)
	}
	if s := v.do(1, write); s.Sense != (dev.Sense{Key: scsi.MediumError, ASC: 0x0C}) {
		t.Errorf("the write that is to fail: %v", &s)
	}
	v.disturb(vtlserve.Request{Fault: &vtlserve.Fault{Device: drive, Op: dev.OpWrite, Condition: "early-warning"}})
	if s := v.do(1, write); !s.EOM || s.Key != scsi.NoSense {
		t.Errorf("a write at early warning: %v", &s)
	}
	v.disturb(vtlserve.Request{Fault: &vtlserve.Fault{Device: drive, Op: dev.OpWrite, Condition: "write-protected", Times: -1}})
	v.disturb(vtlserve.Request{Clear: true})
	if s := v.do(1, write); s != (scsi.Sense{}) {
		t.Errorf("a write after all faults were forgotten: %v", &s)
	}

	v.disturb(vtlserve.Request{Alert: &vtlserve.Alert{Device: drive, Flag: 20}})
	page := make([]byte, 4+64*5)
	v.do(1, &scsi.Command{CDB: []byte{scsi.LogSense, 0, 0x40 | 0x2E, 0, 0, 0, 0, byte(len(page) >> 8), byte(len(page)), 0}, In: page})
	if page[4+19*5+1] != 20 || page[4+19*5+4] != 1 {
		t.Errorf("TapeAlert 20 in page 2Eh: % X", page[4+19*5:][:5])
	}

	v.disturb(vtlserve.Request{PowerCycle: drive})
	if s := v.do(1, write); s.Key != scsi.UnitAttention || s.ASC != 0x29 {
		t.Errorf("the first command after a power cycle: %v", &s)
	}
}

// A person takes a cartridge out of the mail slot and puts it in again.
func TestMailSlot(t *testing.T) {
	v := offer(t, "")
	v.move(vtl.FirstSlot+1, vtl.FirstImportExport)
	if r := v.disturb(vtlserve.Request{TakeOut: vtl.FirstImportExport}); r.Barcode != "CAP002L9" {
		t.Errorf("taken out: %+v", r)
	}
	if _, err := vtlserve.Disturb(context.Background(), v.socket, &vtlserve.Request{TakeOut: vtl.FirstImportExport}); err == nil || !strings.Contains(err.Error(), "no mail slot with a cartridge") {
		t.Errorf("taking out what is not there: %v", err)
	}
	v.disturb(vtlserve.Request{PutIn: &vtlserve.PutIn{Barcode: "CAP002L9", Element: vtl.FirstImportExport}})
	v.move(vtl.FirstImportExport, vtl.FirstSlot+1)
}

// Requests that are none do no harm.
func TestBadRequests(t *testing.T) {
	v := offer(t, "")
	for _, text := range []string{"", "{", `{"no_such": 1}`, strings.Repeat("[", 100_000)} {
		c, err := net.Dial("unix", v.socket)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		c.Write([]byte(text))
		c.(*net.UnixConn).CloseWrite()
		if n, _ := c.Read(make([]byte, 10)); n > 0 {
			t.Errorf("%.20q is answered", text)
		}
		c.Close()
	}
	for _, q := range []vtlserve.Request{{PowerCycle: "drive9"}, {Alert: &vtlserve.Alert{Device: "vtl1", Flag: 65}}, {Alert: &vtlserve.Alert{Device: "x", Flag: 1}},
		{Fault: &vtlserve.Fault{Condition: "bad luck"}}, {PutIn: &vtlserve.PutIn{Barcode: "CAP001L9", Element: 1}}} {
		if _, err := vtlserve.Disturb(context.Background(), v.socket, &q); err == nil {
			t.Errorf("%+v is taken", q)
		}
	}
	v.disturb(vtlserve.Request{Clear: true})
}

// A stop makes all durable, a filemark or not; the next start has it.
func TestStopAndStart(t *testing.T) {
	dir := t.TempDir()
	v := offer(t, dir)
	v.move(vtl.FirstSlot, vtl.FirstDrive)
	v.until(1, 0, 0, 0, 0, 0, 0)
	out := bytes.Repeat([]byte("tape"), 5000)
	v.do(1, &scsi.Command{CDB: block(scsi.Write6, len(out)), Out: out})
	v.stop()

	v = offer(t, dir)
	v.do(1, &scsi.Command{CDB: make([]byte, 6)})
	v.until(1, scsi.LoadUnload, 0, 0, 0, 1, 0)
	in := make([]byte, len(out))
	if s := v.do(1, &scsi.Command{CDB: block(scsi.Read6, len(in)), In: in}); s != (scsi.Sense{}) || !bytes.Equal(in, out) {
		t.Errorf("after a restart: %v, or other bytes", &s)
	}
}
