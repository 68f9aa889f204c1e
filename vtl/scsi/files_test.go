package target_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/store"
	"capstan/sim"
	simstore "capstan/sim/store"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

// TestFiles writes through one target, loses the power, and reads through another
// what a synchronous filemark had made durable.
func TestFiles(t *testing.T) {
	w := sim.New(sim.Options{Seed: 1})
	defer w.Close()
	h := w.NewHost("library", pbx.Media)
	h.Boot()
	err := w.Do(h, "test", func(ctx context.Context, _ *host.Env) error {
		dir := simstore.NewDir(0, rand.New(rand.NewPCG(1, 1)))
		open := func() (*rig, error) {
			lib, err := vtl.New(ctx, vtl.Demo("robot", 64<<20, 0), vtl.Options{Dir: dir})
			if err != nil {
				return nil, err
			}
			tgt := target.New(ctx, lib, target.Options{})
			return &rig{t, ctx, lib, tgt, tgt.Nexus("iqn.test:a")}, nil
		}
		r, err := open()
		if err != nil {
			return err
		}
		r.mount(1)
		secret := pattern(5001, 3)
		r.want(1, setKey(52), keyPage(2, 3, key1, ""), 0, good)
		r.want(1, write6(len(secret)), secret, 0, good)
		r.want(1, "10 00 000001 00", nil, 0, good)
		title := append(cdb("00000010 0803 02 000B"), "a title abc"...)
		r.want(1, "8D 00 00 00 00 00 00 00 00 00 00000014 00 00", title, 0, good)
		r.want(1, write6(len(secret)), secret, 0, good) // not made durable
		dir.Crash()
		if r, err = open(); err != nil {
			return err
		}
		r.settle()
		r.want(1, "1B 00 00 00 01 00", nil, 0, good) // the cartridge is in the drive still
		r.want(1, read6(5001), nil, 5001, "7/74/01 information 5001")
		r.want(1, setKey(52), keyPage(2, 3, key1, ""), 0, good)
		if got := r.want(1, read6(5001), nil, 5001, good); !bytes.Equal(got, secret) {
			t.Error("after the crash another block")
		}
		r.want(1, read6(5001), nil, 5001, "0/00/01 FILEMARK information 5001")
		r.want(1, read6(5001), nil, 5001, "8/00/05 information 5001")
		b := r.want(1, "8C 00 00 00 00 00 00 00 0803 00001000 00 00", nil, 4096, good)
		if !bytes.Contains(b, []byte("a title abc")) {
			t.Errorf("after the crash the chip holds % X", b)
		}
		if err := r.lib.Close(ctx); err != nil {
			return err
		}
		return notIn(ctx, t, dir, secret[:64], key1)
	})
	if err != nil {
		t.Error(err)
	}
}

// notIn looks whether any file of the library holds one of the secrets.
func notIn(ctx context.Context, t *testing.T, dir store.Dir, secrets ...[]byte) error {
	names, err := dir.List(ctx, "")
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := dir.Open(ctx, name)
		if err != nil {
			return err
		}
		n, err := f.Size()
		if err != nil {
			return err
		}
		b := make([]byte, n)
		if got, err := f.ReadAt(b, 0); got < len(b) {
			return err
		}
		for _, s := range secrets {
			if bytes.Contains(b, s) {
				t.Errorf("%s holds what must not be in a file", name)
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
