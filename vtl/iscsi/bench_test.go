package iscsi_test

import (
	"context"
	"fmt"
	"testing"

	"capstan/core/scsi"
	"capstan/hw/clock"
	"capstan/hw/dir"
	initiator "capstan/hw/iscsi"
	"capstan/hw/iscsi/tgttest"
	"capstan/vtl"
	"capstan/vtl/iscsi"
	target "capstan/vtl/scsi"
)

// null is a target whose units take everything and read as zeros: what is left to
// measure is the protocol.
type null struct{}

func (null) Nexus(string) iscsi.Nexus    { return null{} }
func (null) LUN(uint64) iscsi.Unit       { return null{} }
func (null) Lost(context.Context) error  { return nil }
func (null) Reset(context.Context) error { return nil }
func (null) Close() error                { return nil }
func (null) Do(_ context.Context, c *scsi.Command) (scsi.Result, error) {
	return scsi.Result{N: len(c.In) + len(c.Out)}, nil
}

// BenchmarkTarget moves blocks through this target, with nothing behind it, by the
// initiator of hw/iscsi.
func BenchmarkTarget(b *testing.B) {
	for _, digests := range []bool{false, true} {
		for _, size := range []int{64 << 10, 256 << 10, 1 << 20} {
			at, _ := serve(b, iscsi.Config{Units: null{}})
			s := dial(b, initiator.Config{Address: at, HeaderDigest: digests, DataDigest: digests})
			bench(b, s, size, fmt.Sprintf("digests=%v/", digests), -1)
			s.Close()
		}
	}
}

// megabytes is the size of the cartridges that keep what is written.
const megabytes = 512

// BenchmarkLibrary is the whole of it: a virtual library whose cartridges are files.
func BenchmarkLibrary(b *testing.B) {
	d, err := dir.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	ctx := clock.Context(context.Background(), "bench")
	cfg := vtl.Demo("vtl1", megabytes<<20, 0)
	lib, err := vtl.New(ctx, cfg, vtl.Options{Dir: d})
	if err != nil {
		b.Fatal(err)
	}
	defer lib.Close(ctx)
	at, stop := serve(b, iscsi.Config{Units: iscsi.Library(target.New(ctx, lib, target.Options{}))})
	defer stop()
	s := dial(b, initiator.Config{Address: at})
	defer s.Close()
	mount(b, s)
	for _, size := range []int{64 << 10, 256 << 10, 1 << 20} {
		bench(b, s, size, "", megabytes*9/10<<20/size)
	}
}

// BenchmarkTgt is the same through Debian's tgt, whose cartridge is a file, too.
func BenchmarkTgt(b *testing.B) {
	at := tgttest.Start(b, megabytes, "", "")
	s, err := initiator.Dial(context.Background(), initiator.Config{Address: at, Initiator: ourName, Target: tgttest.Target})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for range 4 { // what it owes at the begin of a session
		do(b, s.LUN(1), &scsi.Command{CDB: make([]byte, 6)})
	}
	for _, size := range []int{64 << 10, 256 << 10, 1 << 20} {
		bench(b, s, size, "", megabytes*9/10<<20/size)
	}
}

// bench writes and reads blocks; rewind is after how many to go back to the
// beginning, -1 never.
func bench(b *testing.B, s *initiator.Session, size int, name string, rewind int) {
	u := s.LUN(1)
	buf := pattern(size, 1)
	rewound := func(b *testing.B) {
		if r := do(b, u, &scsi.Command{CDB: []byte{scsi.Rewind, 0, 0, 0, 0, 0}}); r.Status != scsi.Good {
			b.Fatalf("REWIND: %+v", r)
		}
	}
	run := func(name string, c *scsi.Command) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			rewound(b)
			for i := 0; b.Loop(); i++ {
				if rewind > 0 && i%rewind == rewind-1 {
					rewound(b)
				}
				r := do(b, u, c)
				if r.Status == scsi.CheckCondition && c.In != nil { // the end of what was written
					rewound(b)
				} else if r.Status != scsi.Good {
					b.Fatalf("%+v", r)
				}
			}
		})
	}
	run(fmt.Sprintf("%swrite=%dKiB", name, size>>10), &scsi.Command{CDB: transfer(scsi.Write6, size), Out: buf})
	run(fmt.Sprintf("%sread=%dKiB", name, size>>10), &scsi.Command{CDB: transfer(scsi.Read6, size), In: buf})
}
