package ring

import (
	"bytes"
	"context"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/rt"
	"capstan/core/stream"
	"capstan/hw/clock"
)

// TestWakeBeforeConnection has the side that made the ring give a slot back while
// it does not know yet of the other's connection: the other has had the memory for
// a while, has filled it, and waits. On a busy machine that happens.
func TestWakeBeforeConnection(t *testing.T) {
	ctx := clock.Context(t.Context(), "taker")
	m, err := newMemory("wake", geometry{slots: 1, size: 16})
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(m.fd)
	if err != nil {
		t.Fatal(err)
	}
	same, err := mapMemory(fd, m.geometry)
	if err != nil {
		t.Fatal(err)
	}
	taker, filler := newRing("wake", m), newRing("wake", same)
	toTaker, toFiller := connections(t)
	filler.peer.connected(toTaker)

	fill(ctx, t, filler, "one")
	second := make(chan error, 1)
	rt.Go(ctx, "filler", func(ctx context.Context) {
		ctx, cancel := rt.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_, err := filler.Empty(ctx)
		second <- err
	})
	for filler.waits.empty.Load() == 0 || m.u32(fillWaitAt).Load() == 0 || len(filler.peer.wake) > 0 {
		time.Sleep(time.Millisecond)
	}

	s, err := taker.Full(ctx)
	if err != nil || !bytes.Equal(s.Bytes, []byte("one")) {
		t.Fatalf("Full: %+v, %v", s, err)
	}
	if err := taker.Free(ctx); err != nil {
		t.Fatal(err)
	}
	taker.peer.connected(toFiller)
	if err := <-second; err != nil {
		t.Errorf("the filler waits although a slot is empty: %v", err)
	}
	if err := taker.Close(); err != nil {
		t.Error(err)
	}
	if err := filler.Close(); err != nil {
		t.Error(err)
	}
}

func fill(ctx context.Context, t *testing.T, r *Ring, text string) {
	t.Helper()
	mem, err := r.Empty(ctx)
	if err == nil {
		err = r.Fill(ctx, stream.Slot{Kind: stream.Data, Bytes: append(mem, text...), Len: int64(len(text))})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// connections are the two ends of a connection as rings have it.
func connections(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "ring")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}
