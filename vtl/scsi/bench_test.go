package target_test

import (
	"context"
	"fmt"
	"testing"

	"capstan/core/scsi"
	"capstan/hw/clock"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

// BenchmarkBlocks writes and reads blocks of a cartridge in memory over and over,
// in the real world's tasks.
func BenchmarkBlocks(b *testing.B) {
	for _, size := range []int{256 << 10, 1 << 20} {
		for _, mode := range []string{"plain", "protected", "encrypted"} {
			b.Run(fmt.Sprintf("write %d KiB %s", size>>10, mode), func(b *testing.B) { blocks(b, size, mode, false) })
			b.Run(fmt.Sprintf("read %d KiB %s", size>>10, mode), func(b *testing.B) { blocks(b, size, mode, true) })
		}
	}
}

func blocks(b *testing.B, size int, mode string, read bool) {
	ctx := clock.Context(context.Background(), "bench")
	cfg := vtl.Demo("robot", 1<<30, 0)
	lib, err := vtl.New(ctx, cfg, vtl.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer lib.Close(ctx) //nolint:errcheck // the benchmark is over
	tgt := target.New(ctx, lib, target.Options{})
	r := &rig{b, ctx, lib, tgt, tgt.Nexus("bench")}
	r.mount(1)
	data, wire := pattern(size, 1), size
	switch mode {
	case "protected":
		r.want(1, "15 10 0000 24 00", append([]byte{0, 0, 0x10, 0, 0x4A, 0xF0, 0, 0x1C, 2, 4, 0xC0}, make([]byte, 25)...), 0, good)
		data = append(data, crc32c(data)...)
		wire += 4
	case "encrypted":
		r.want(1, setKey(52), keyPage(2, 3, key1, ""), 0, good)
	}
	lun := r.nexus.LUN(1)
	run := func(c *scsi.Command) {
		res, err := lun.Do(ctx, c)
		if err != nil || res.Status != scsi.Good {
			b.Fatalf("% X: %s", c.CDB, ends(res, err))
		}
	}
	const laps = 48 // MiB that are written again and again
	w := &scsi.Command{CDB: cdb(write6(wire)), Out: data}
	rd := &scsi.Command{CDB: cdb(read6(wire)), In: make([]byte, wire)}
	rewind := &scsi.Command{CDB: cdb("01 00 00 00 00 00")}
	for range laps {
		run(w)
	}
	run(rewind)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%laps == 0 {
			run(rewind)
		}
		if read {
			run(rd)
		} else {
			run(w)
		}
	}
}
