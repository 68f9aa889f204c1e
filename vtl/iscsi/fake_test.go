package iscsi_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/hw/clock"
	initiator "capstan/hw/iscsi"
	"capstan/vtl/iscsi"
)

const (
	targetName = "iqn.2001-04.com.example:tape"
	ourName    = "iqn.2001-04.com.example:host1"
)

// fake is a SCSI target with two units, each of which keeps blocks in memory and
// reads them back in the order that they were written.
type fake struct {
	mu      sync.Mutex
	blocks  [2][][]byte
	next    [2]int
	order   []byte // first bytes of blocks, as they were written
	lost    []string
	resets  []int // units that were reset; -1 is all
	working chan struct{}
	hang    chan struct{} // REWIND waits for it
}

func newFake() *fake {
	return &fake{working: make(chan struct{}, 16), hang: make(chan struct{})}
}

type fakeNexus struct {
	f    *fake
	name string
}

type fakeUnit struct {
	f *fake
	n uint64
}

func (f *fake) Nexus(name string) iscsi.Nexus { return &fakeNexus{f, name} }

func (f *fake) Reset(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resets = append(f.resets, -1)
	return nil
}

func (n *fakeNexus) LUN(lun uint64) iscsi.Unit { return &fakeUnit{n.f, lun} }

func (n *fakeNexus) Lost(context.Context) error {
	n.f.mu.Lock()
	defer n.f.mu.Unlock()
	n.f.lost = append(n.f.lost, n.name)
	return nil
}

func (u *fakeUnit) Close() error { return nil }

func (u *fakeUnit) Reset(context.Context) error {
	u.f.mu.Lock()
	defer u.f.mu.Unlock()
	u.f.resets = append(u.f.resets, int(u.n))
	return nil
}

func check(key, asc, ascq uint8, information int64) scsi.Result {
	s := scsi.Sense{Sense: dev.Sense{Key: key, ASC: asc, ASCQ: ascq}, Information: information, Valid: information != 0}
	return scsi.Result{Status: scsi.CheckCondition, Sense: s.Fixed()}
}

func (u *fakeUnit) Do(_ context.Context, c *scsi.Command) (scsi.Result, error) {
	f := u.f
	if u.n >= 2 {
		return check(scsi.IllegalRequest, 0x25, 0, 0), nil
	}
	if c.CDB[0] == scsi.Rewind {
		f.working <- struct{}{}
		<-f.hang
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch c.CDB[0] {
	case scsi.TestUnitReady:
		return scsi.Result{}, nil
	case scsi.Rewind:
		f.next[u.n] = 0
		return scsi.Result{}, nil
	case scsi.Inquiry:
		return scsi.Result{N: copy(c.In, []byte{scsi.Sequential: 0, 35: 'x'})}, nil
	case scsi.Write6:
		f.blocks[u.n] = append(f.blocks[u.n], slices.Clone(c.Out))
		f.order = append(f.order, c.Out[0])
		return scsi.Result{N: len(c.Out)}, nil
	case scsi.Read6:
		if f.next[u.n] == len(f.blocks[u.n]) {
			return check(scsi.BlankCheck, 0, 5, int64(len(c.In))), nil
		}
		b := f.blocks[u.n][f.next[u.n]]
		f.next[u.n]++
		r := scsi.Result{N: copy(c.In, b)}
		if len(b) != len(c.In) {
			r = check(scsi.NoSense, 0, 0, int64(len(c.In)-len(b)))
			r.N = min(len(b), len(c.In))
		}
		return r, nil
	}
	return check(scsi.IllegalRequest, 0x20, 0, 0), nil
}

// transfer is a READ(6) or WRITE(6) of one block.
func transfer(op uint8, n int) []byte {
	return []byte{op, 0, byte(n >> 16), byte(n >> 8), byte(n), 0}
}

// serve runs a target and returns its address. It ends with the test, and then
// leaves nothing behind.
func serve(t testing.TB, cfg iscsi.Config) (address string, stop func()) {
	t.Helper()
	address, _, stop = serveTarget(t, cfg)
	return address, stop
}

func serveTarget(t testing.TB, cfg iscsi.Config) (address string, target *iscsi.Target, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if cfg.Name == "" {
		cfg.Name = targetName
	}
	target, err := iscsi.New(clock.Context(context.Background(), "test"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- target.Serve(ctx, l) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("Serve: %v", err)
				}
				if n := target.InUse(); n != 0 {
					t.Errorf("%d bytes of the pool are lost", n)
				}
			case <-time.After(20 * time.Second):
				t.Error("the target does not stop")
			}
		})
	}
	t.Cleanup(stop)
	return l.Addr().String(), target, stop
}

func dial(t testing.TB, cfg initiator.Config) *initiator.Session {
	t.Helper()
	if cfg.Initiator == "" {
		cfg.Initiator = ourName
	}
	cfg.Target = targetName
	s, err := initiator.Dial(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func do(t testing.TB, u scsi.Transport, c *scsi.Command) scsi.Result {
	t.Helper()
	r, err := u.Do(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// pattern is n bytes that differ from place to place.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}
