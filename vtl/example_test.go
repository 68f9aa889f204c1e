package vtl_test

import (
	"context"
	"fmt"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/sim"
	"capstan/vtl"
)

// A cartridge is mounted in virtual time, written and read.
func Example() {
	w := sim.New(sim.Options{Seed: 1})
	defer w.Close()
	h := w.NewHost("library", pbx.Media)
	h.Boot()
	err := w.Do(h, "example", func(ctx context.Context, _ *host.Env) error {
		l, err := vtl.New(ctx, vtl.Demo("robot", 2<<30, 1), vtl.Options{})
		if err != nil {
			return err
		}
		robot, err := l.Changer(ctx, "robot")
		if err != nil {
			return err
		}
		if err := robot.Move(ctx, vtl.SlotAddress(1), vtl.DriveAddress(0)); err != nil {
			return err
		}
		d, err := l.Drive(ctx, "robot-d0")
		if err != nil {
			return err
		}
		if err := d.Load(ctx); err != nil {
			return err
		}
		if err := d.Write(ctx, []byte("a block")); err != nil {
			return err
		}
		if err := d.WriteFilemarks(ctx, 1, false); err != nil {
			return err
		}
		p, err := d.Position(ctx)
		if err != nil {
			return err
		}
		fmt.Println("object", p.Block, "file", p.File, "after", w.Mono())
		return l.Close(ctx)
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: object 2 file 1 after 28.360000017s
}
