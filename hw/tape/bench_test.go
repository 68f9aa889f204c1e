package tape

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"capstan/core/media"
	"capstan/core/scsi"
	"capstan/core/stream"
	"capstan/hw/clock"
	"capstan/hw/ring"
)

const benchBlock = 256 << 10

// BenchmarkData measures what goes through ring and driver to a drive that takes
// everything at once, for one stream: the one side fills blocks into the shared memory
// with their CRC-32C, the other checks that, keeps the table of blocks, and writes. With
// block protection each block gets a checksum for the drive too, and the drive checks it.
func BenchmarkData(b *testing.B) {
	b.Run("write", func(b *testing.B) { benchWrite(b, Options{Unprotected: true}) })
	b.Run("write with block protection", func(b *testing.B) { benchWrite(b, Options{}) })
	b.Run("read", func(b *testing.B) { benchRead(b, Options{Unprotected: true}) })
	b.Run("read with block protection", func(b *testing.B) { benchRead(b, Options{}) })
}

// nullUnit takes all and keeps nothing. What it gives is one block, with its checksum if
// protection is on.
type nullUnit struct {
	*unit
	gives []byte
}

func (u *nullUnit) Do(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	if c.CDB[0] == scsi.Read6 {
		u.pos++
		return scsi.Result{N: copy(c.In, u.gives)}, nil
	}
	return u.unit.Do(ctx, c)
}

func benchDrive(ctx context.Context, b *testing.B, o Options) *Drive {
	u := &nullUnit{unit: newUnit(), gives: block(1, benchBlock)}
	u.null = true
	u.gives = binary.LittleEndian.AppendUint32(u.gives, crc32.Checksum(u.gives, stream.Castagnoli))
	d, err := Open(ctx, "drive1", u, o)
	if err == nil {
		err = d.Load(ctx)
	}
	if err != nil {
		b.Fatal(err)
	}
	return d
}

func benchWrite(b *testing.B, o Options) {
	ctx, run := clock.Context(context.Background(), "bptm"), b.TempDir()
	d := benchDrive(ctx, b, o)
	r, err := ring.New(run, nil).Create(ctx, "bench", 32, benchBlock)
	if err != nil {
		b.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- fill(clock.Context(context.Background(), "child"), run, b.N) }()
	frags := media.NewFragments("bench_1", 1, benchBlock, media.Image{})
	_, err = frags.Begin(0, "")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchBlock)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		s, err := r.Full(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Write(ctx, s.Bytes); err != nil {
			b.Fatal(err)
		}
		if err := frags.Wrote(&s, s.Len); err != nil {
			b.Fatal(err)
		}
		if err := r.Free(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if d.at.Block != int64(b.N) || frags.At() != int64(b.N)*benchBlock {
		b.Fatalf("block %d, %d bytes after %d blocks", d.at.Block, frags.At(), b.N)
	}
	if err := <-result; err != nil {
		b.Fatal(err)
	}
}

// fill is the child's part: it fills the ring's memory with blocks.
func fill(ctx context.Context, run string, n int) error {
	r, err := ring.New(run, nil).Attach(ctx, "bench")
	if err != nil {
		return err
	}
	data := block(1, benchBlock)
	for i := range n {
		mem, err := r.Empty(ctx)
		if err != nil {
			return err
		}
		mem = append(mem, data...)
		if err := r.Fill(ctx, stream.Slot{Kind: stream.Data, Bytes: mem, Len: benchBlock, Offset: int64(i) * benchBlock}); err != nil {
			return err
		}
	}
	return r.Close()
}

func benchRead(b *testing.B, o Options) {
	ctx := clock.Context(context.Background(), "bptm")
	d := benchDrive(ctx, b, o)
	p := make([]byte, benchBlock)
	b.SetBytes(benchBlock)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if n, err := d.Read(ctx, p); err != nil || n != benchBlock || d.guarded == o.Unprotected {
			b.Fatal(n, err)
		}
	}
}
