package iscsi_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"runtime"
	"testing"
	"time"

	protocol "capstan/core/iscsi"
	"capstan/core/scsi"
	"capstan/core/store"
	"capstan/hw/clock"
	"capstan/hw/dir"
	initiator "capstan/hw/iscsi"
	"capstan/vtl"
	"capstan/vtl/iscsi"
	target "capstan/vtl/scsi"
)

// library serves the virtual library, with its cartridges in a directory or, if
// that is "", in memory.
func library(t testing.TB, path string) (address string) {
	t.Helper()
	ctx := clock.Context(context.Background(), "test")
	var d store.Dir
	if path != "" {
		o, err := dir.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.Close() })
		d = o
	}
	lib, err := vtl.New(ctx, vtl.Demo("vtl1", megabytes<<20, 0), vtl.Options{Dir: d})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lib.Close(ctx) })
	address, _ = serve(t, iscsi.Config{Units: iscsi.Library(target.New(ctx, lib, target.Options{}))})
	return address
}

// move has the robot carry a cartridge.
func move(t testing.TB, s *initiator.Session, from, to int) {
	t.Helper()
	cdb := make([]byte, 12)
	cdb[0] = scsi.MoveMedium
	binary.BigEndian.PutUint16(cdb[4:], uint16(from))
	binary.BigEndian.PutUint16(cdb[6:], uint16(to))
	until(t, s.LUN(0), cdb)
}

// until repeats a command until it is GOOD: units tell first what they owe.
func until(t testing.TB, u scsi.Transport, cdb []byte) {
	t.Helper()
	var r scsi.Result
	for range 10 {
		if r = do(t, u, &scsi.Command{CDB: cdb}); r.Status == scsi.Good {
			return
		}
	}
	t.Fatalf("command %02Xh does not succeed: %+v", cdb[0], r)
}

// mount has the robot put the first cartridge into the first drive.
func mount(t testing.TB, s *initiator.Session) {
	t.Helper()
	move(t, s, vtl.FirstSlot, vtl.FirstDrive)
	until(t, s.LUN(1), make([]byte, 6))
}

// unmount has the drive eject, and the robot put the cartridge back.
func unmount(t testing.TB, s *initiator.Session) {
	t.Helper()
	until(t, s.LUN(1), []byte{scsi.LoadUnload, 0, 0, 0, 0, 0})
	move(t, s, vtl.FirstDrive, vtl.FirstSlot)
}

// A reservation of the old kind ends with the session of an initiator that vanishes;
// a persistent one stays (SPC-5, 5.14).
func TestReservationsOfTheVanished(t *testing.T) {
	at := library(t, "")
	b := dial(t, initiator.Config{Address: at, ISID: 2})
	mount(t, b)
	status := func(isid uint32) scsi.Status {
		s := dial(t, initiator.Config{Address: at, ISID: isid})
		defer s.Close()
		u := s.LUN(1)
		r := do(t, u, &scsi.Command{CDB: []byte{scsi.Rewind, 0, 0, 0, 0, 0}})
		for r.Status == scsi.CheckCondition { // unit attentions
			r = do(t, u, &scsi.Command{CDB: []byte{scsi.Rewind, 0, 0, 0, 0, 0}})
		}
		return r.Status
	}
	vanish := func(s *raw) { s.nc.Close() }

	a := connect(t, at)
	a.login()
	for _, cdb := range [][]byte{make([]byte, 6), {scsi.Reserve6, 0, 0, 0, 0, 0}} {
		a.send(a.command(1, protocol.Final, 0, cdb), nil)
		a.want(protocol.Response)
	}
	if got := status(3); got != scsi.ReservationConflict {
		t.Fatalf("another initiator meets %v", got)
	}
	vanish(a)
	gone(t, func() bool { return status(3) == scsi.Good })

	a = connect(t, at)
	a.login()
	param := make([]byte, 24)
	param[15] = 7 // the new key
	register := []byte{scsi.PersistentReserveOut, 0, 0, 0, 0, 0, 0, 0, 24, 0}
	a.send(a.command(1, protocol.Final, 0, make([]byte, 6)), nil) // the unit attention
	a.want(protocol.Response)
	for _, p := range []struct{ action, scope, key int }{{0, 0, 0}, {1, 1, 7}} {
		cdb := bytes.Clone(register)
		cdb[1], cdb[2] = byte(p.action), byte(p.scope)
		list := bytes.Clone(param)
		list[7] = byte(p.key)
		a.send(a.command(1, protocol.Final|protocol.Write, len(list), cdb), list)
		if r := a.want(protocol.Response); r.Header[3] != 0 {
			s, key, asc := r.status()
			t.Fatalf("PERSISTENT RESERVE OUT %d: %v %X/%02X", p.action, s, key, asc)
		}
	}
	vanish(a)
	for range 5 {
		if got := status(3); got != scsi.ReservationConflict {
			t.Fatalf("after the holder of a persistent reservation has vanished another meets %v", got)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// gone waits for what happens soon after an initiator has vanished.
func gone(t *testing.T, happened func() bool) {
	t.Helper()
	for range 200 {
		if happened() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the target still waits for an initiator that has vanished")
}

// What was written before a synchronising filemark that was acknowledged is on
// disk: a library opened on the files as they are at that moment has it.
func TestAcknowledgedIsOnDisk(t *testing.T) {
	path, crashed := t.TempDir(), t.TempDir()
	s := dial(t, initiator.Config{Address: library(t, path)})
	mount(t, s)
	const size, n = 100_000, 7
	for i := range n {
		if r := do(t, s.LUN(1), &scsi.Command{CDB: transfer(scsi.Write6, size), Out: pattern(size, byte(i))}); r.Status != scsi.Good {
			t.Fatalf("%+v", r)
		}
	}
	until(t, s.LUN(1), []byte{scsi.WriteFilemarks6, 0, 0, 0, 1, 0})
	do(t, s.LUN(1), &scsi.Command{CDB: transfer(scsi.Write6, size), Out: pattern(size, 99)}) // may be lost
	if err := os.CopyFS(crashed, os.DirFS(path)); err != nil {
		t.Fatal(err)
	}
	again := dial(t, initiator.Config{Address: library(t, crashed)})
	u := again.LUN(1)
	for range 3 { // it is in the drive, and not loaded
		do(t, u, &scsi.Command{CDB: make([]byte, 6)})
	}
	until(t, u, []byte{scsi.LoadUnload, 0, 0, 0, 1, 0})
	until(t, u, []byte{scsi.Rewind, 0, 0, 0, 0, 0})
	in := make([]byte, size)
	for i := range n {
		if r := do(t, u, &scsi.Command{CDB: transfer(scsi.Read6, size), In: in}); r.Status != scsi.Good || !bytes.Equal(in, pattern(size, byte(i))) {
			t.Fatalf("block %d: %+v, or other bytes", i, r)
		}
	}
	r := do(t, u, &scsi.Command{CDB: transfer(scsi.Read6, size), In: in})
	if sense, err := scsi.ParseSense(r.Sense); err != nil || !sense.Filemark {
		t.Errorf("after the blocks: %+v, %v, want a filemark", r, err)
	}
}

// The commands of a day, as scenarios/busy-night.yaml has it: 20 jobs, each with a
// mount, and 2240 GiB in blocks of 256 KiB, of which every hundredth is written.
const (
	dayJobs   = 20
	jobBlocks = 2240 << 30 / (256 << 10) / dayJobs / 100
)

// A day of commands leaves no memory behind: at its end the heap is what it was
// after its first tenth.
func TestDayWithoutGrowth(t *testing.T) {
	at := library(t, "")
	s := dial(t, initiator.Config{Address: at})
	out, in := pattern(4096, 1), make([]byte, 4096)
	u := s.LUN(1)
	blocks := jobBlocks
	if testing.Short() {
		blocks /= 8
	}
	var early uint64
	tasks := 0
	for job := range dayJobs {
		mount(t, s)
		for i := range blocks {
			if r := do(t, u, &scsi.Command{CDB: transfer(scsi.Write6, len(out)), Out: out}); r.Status != scsi.Good {
				t.Fatalf("block %d: %+v", i, r)
			}
			if i%400 == 399 {
				until(t, u, []byte{scsi.WriteFilemarks6, 0, 0, 0, 1, 0})
			}
		}
		until(t, u, []byte{scsi.Rewind, 0, 0, 0, 0, 0})
		for i := range 400 {
			if r := do(t, u, &scsi.Command{CDB: transfer(scsi.Read6, len(in)), In: in}); r.Status != scsi.Good || !bytes.Equal(in, out) {
				t.Fatalf("block %d: %+v, or other bytes", i, r)
			}
		}
		// Another initiator looks in, and a third vanishes in the midst of a command.
		other := dial(t, initiator.Config{Address: at, ISID: uint32(job + 10)})
		do(t, other.LUN(0), &scsi.Command{CDB: make([]byte, 6)})
		other.Close()
		lost := connect(t, at)
		lost.isid = byte(job)
		lost.login()
		lost.send(lost.command(0, protocol.Final|protocol.Write, 1000, transfer(scsi.Write6, 1000)), make([]byte, 10))
		lost.nc.Close()
		unmount(t, s)
		switch job {
		case dayJobs/10 - 1:
			early, tasks = heap(), runtime.NumGoroutine()
		case dayJobs - 1:
			if now := heap(); now > early+early/10+(1<<20) {
				t.Errorf("the heap has grown from %d to %d bytes", early, now)
			}
			if n := runtime.NumGoroutine(); n > tasks+8 {
				t.Errorf("there are %d goroutines, there were %d", n, tasks)
			}
		}
	}
}

// heap is how many bytes are in use, when all garbage is collected.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what sync.Pool kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A block crosses initiator and target without an allocation.
func TestNoAllocationForABlock(t *testing.T) {
	at, _ := serve(t, iscsi.Config{Units: null{}})
	u := dial(t, initiator.Config{Address: at, DataDigest: true}).LUN(1)
	buf := pattern(256<<10, 1)
	for name, c := range map[string]*scsi.Command{
		"write": {CDB: transfer(scsi.Write6, len(buf)), Out: buf},
		"read":  {CDB: transfer(scsi.Read6, len(buf)), In: buf},
	} {
		ctx := context.Background()
		if n := testing.AllocsPerRun(200, func() { u.Do(ctx, c) }); n >= 1 {
			t.Errorf("%s: %v allocations for a block", name, n)
		}
	}
}
