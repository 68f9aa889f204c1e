package devtest

import (
	"context"
	"errors"
	"testing"

	"capstan/core/dev"
)

// RunDrive runs the drive's part of the suite.
func RunDrive(t *testing.T, world World, open Open) {
	runAll(t, world, open, false, []test{
		{"no medium, not ready", testNotReady},
		{"write protected", testProtected},
	})
	runAll(t, world, open, true, []test{
		{"status", testStatus},
		{"read what was written", testReadBack},
		{"end of data", testEndOfData},
		{"block too long", testTooLong},
		{"locate", testLocate},
		{"space", testSpace},
		{"space to end", testSpaceToEnd},
		{"overwrite truncates", testOverwrite},
		{"filemark truncates", testMarkTruncates},
		{"erase", testErase},
		{"early warning and overflow", testEnd},
		{"reservation", testReservation},
		{"reservation outlives its handle", testReservationStays},
		{"unload and load", testReload},
		{"hollow", testHollow},
	})
	RunCrash(t, world, open)
	t.Run("model", func(t *testing.T) { testModel(t, world, open) })
}

func testNotReady(ctx context.Context, r *rig) {
	d, err := r.lib.Finder.Drive(ctx, r.lib.Drives[0])
	r.want("opening the drive", err, nil)
	if err != nil {
		return
	}
	s, err := d.Status(ctx)
	r.want("status", err, nil)
	if s.Loaded || s.Ready || s.Density != "" {
		r.fail("status of an empty drive: %+v", s)
	}
	r.want("load of an empty drive", d.Load(ctx), dev.ErrNoMedium)
	r.want("write to an empty drive", d.Write(ctx, block(0, Block)), dev.ErrNoMedium)
	_, err = d.Read(ctx, make([]byte, Block))
	r.want("read from an empty drive", err, dev.ErrNoMedium)
	r.want("rewind of an empty drive", d.Rewind(ctx), dev.ErrNoMedium)

	from, to := r.element(ctx, r.lib.Cartridges[0]), r.of(ctx, dev.DriveElement, false)[0]
	r.want("move", r.robot.Move(ctx, from, to), nil)
	r.want("load", d.Load(ctx), nil)
	r.want("unload", d.Unload(ctx), nil)
	r.want("write to an unloaded medium", d.Write(ctx, block(0, Block)), dev.ErrNotReady)
	_, err = d.Position(ctx)
	r.want("position on an unloaded medium", err, dev.ErrNotReady)
	_, err = r.lib.Finder.Drive(ctx, "no such drive")
	if err == nil {
		r.fail("a drive that is not there was opened")
	}
}

func testProtected(ctx context.Context, r *rig) {
	if r.lib.Protected == "" {
		return
	}
	r.drive = r.mount(ctx, 0, r.lib.Protected)
	s, err := r.drive.Status(ctx)
	r.want("status", err, nil)
	if !s.WriteProtected {
		r.fail("status %+v; want it write protected", s)
	}
	r.want("write", r.drive.Write(ctx, block(0, Block)), dev.ErrWriteProtected)
	r.want("filemark", r.drive.WriteFilemarks(ctx, 1, false), dev.ErrWriteProtected)
	r.want("erase", r.drive.Erase(ctx), dev.ErrWriteProtected)
	r.want("rewind", r.drive.Rewind(ctx), nil)
	r.want("unload", r.drive.Unload(ctx), nil)
}

func testStatus(ctx context.Context, r *rig) {
	s, err := r.drive.Status(ctx)
	r.want("status", err, nil)
	if !s.Loaded || !s.Ready || s.WriteProtected || s.Density == "" {
		r.fail("status of a loaded drive: %+v", s)
	}
	if s.Capacity != 0 && s.Capacity != r.lib.Capacity {
		r.fail("capacity %d; want %d", s.Capacity, r.lib.Capacity)
	}
	r.wantAt(ctx, "after load", 0, 0)
}

// layout writes two files: blocks 0-2, mark 3, blocks 4-5, marks 6 and 7.
func layout(ctx context.Context, r *rig) {
	r.t.Helper()
	for _, n := range []int{0, 1, 2} {
		r.write(ctx, n, Block)
	}
	r.marks(ctx, 1)
	r.write(ctx, 4, 100)
	r.write(ctx, 5, 101)
	r.marks(ctx, 2)
}

func testReadBack(ctx context.Context, r *rig) {
	layout(ctx, r)
	r.wantAt(ctx, "after writing", 8, 3)
	r.want("rewind", r.drive.Rewind(ctx), nil)
	for _, n := range []int{0, 1, 2} {
		r.read(ctx, n, Block)
	}
	r.wantAt(ctx, "before the mark", 3, 0)
	r.readErr(ctx, dev.ErrFilemark)
	r.wantAt(ctx, "after the mark", 4, 1)
	r.read(ctx, 4, 100)
	r.read(ctx, 5, 101)
	r.readErr(ctx, dev.ErrFilemark)
	r.readErr(ctx, dev.ErrFilemark)
	r.wantAt(ctx, "at the end", 8, 3)
}

func testEndOfData(ctx context.Context, r *rig) {
	r.readErr(ctx, dev.ErrEndOfData)
	r.write(ctx, 0, Block)
	r.readErr(ctx, dev.ErrEndOfData)
	r.wantAt(ctx, "at the end", 1, 0)
	r.write(ctx, 1, Block)
	r.want("rewind", r.drive.Rewind(ctx), nil)
	r.read(ctx, 0, Block)
	r.read(ctx, 1, Block)
	r.readErr(ctx, dev.ErrEndOfData)
}

func testTooLong(ctx context.Context, r *rig) {
	r.write(ctx, 0, Block+1)
	r.write(ctx, 1, Block)
	r.want("rewind", r.drive.Rewind(ctx), nil)
	r.readErr(ctx, dev.ErrBlockTooLong)
	r.wantAt(ctx, "after a block that was too long", 1, 0)
	r.read(ctx, 1, Block)
	r.want("locate", r.drive.Locate(ctx, 0), nil)
	r.read(ctx, 0, Block+1)
}

func testLocate(ctx context.Context, r *rig) {
	layout(ctx, r)
	files := []int64{0, 0, 0, 0, 1, 1, 1, 2, 3}
	for _, to := range []int64{5, 0, 2, 4, 8, 3, 7, 1, 6} {
		r.want("locate", r.drive.Locate(ctx, to), nil)
		r.wantAt(ctx, "after locate", to, files[to])
	}
	r.want("locate", r.drive.Locate(ctx, 5), nil)
	r.read(ctx, 5, 101)
	r.want("locate past the end", r.drive.Locate(ctx, 9), dev.ErrEndOfData)
	r.wantAt(ctx, "after a locate past the end", 8, 3)
}

func testSpace(ctx context.Context, r *rig) {
	layout(ctx, r)
	r.want("rewind", r.drive.Rewind(ctx), nil)
	for _, s := range []struct {
		n           int
		err         error
		block, file int64
	}{
		{1, nil, 4, 1},
		{1, nil, 7, 2},
		{-1, nil, 6, 1},
		{2, nil, 8, 3},
		{-3, nil, 3, 0},
		{0, nil, 3, 0},
		{3, nil, 8, 3},
		{1, dev.ErrEndOfData, 8, 3},
		{-2, nil, 6, 1},
		{-3, dev.ErrBeginning, 0, 0},
		{4, dev.ErrEndOfData, 8, 3},
	} {
		r.want("space", r.drive.Space(ctx, s.n), s.err)
		r.wantAt(ctx, "after space", s.block, s.file)
	}
}

func testSpaceToEnd(ctx context.Context, r *rig) {
	layout(ctx, r)
	r.want("rewind", r.drive.Rewind(ctx), nil)
	r.want("space to end", r.drive.SpaceToEnd(ctx), nil)
	r.wantAt(ctx, "at the end", 8, 3)
	r.write(ctx, 8, Block)
	r.want("locate", r.drive.Locate(ctx, 5), nil)
	r.read(ctx, 5, 101)
	r.want("space", r.drive.Space(ctx, 2), nil)
	r.read(ctx, 8, Block)
}

func testOverwrite(ctx context.Context, r *rig) {
	layout(ctx, r)
	r.want("locate", r.drive.Locate(ctx, 1), nil)
	r.write(ctx, 77, 50)
	r.readErr(ctx, dev.ErrEndOfData)
	r.want("locate to what is gone", r.drive.Locate(ctx, 4), dev.ErrEndOfData)
	r.wantAt(ctx, "at the end", 2, 0)
	r.write(ctx, 78, Block)
	r.want("rewind", r.drive.Rewind(ctx), nil)
	r.read(ctx, 0, Block)
	r.read(ctx, 77, 50)
	r.read(ctx, 78, Block)
	r.readErr(ctx, dev.ErrEndOfData)
}

func testMarkTruncates(ctx context.Context, r *rig) {
	layout(ctx, r)
	r.want("locate", r.drive.Locate(ctx, 1), nil)
	r.want("flush", r.drive.WriteFilemarks(ctx, 0, false), nil)
	r.read(ctx, 1, Block)
	r.want("locate", r.drive.Locate(ctx, 1), nil)
	r.marks(ctx, 1)
	r.wantAt(ctx, "after the mark", 2, 1)
	r.readErr(ctx, dev.ErrEndOfData)
}

func testErase(ctx context.Context, r *rig) {
	layout(ctx, r)
	r.want("locate", r.drive.Locate(ctx, 2), nil)
	r.want("erase", r.drive.Erase(ctx), nil)
	r.readErr(ctx, dev.ErrEndOfData)
	r.want("rewind", r.drive.Rewind(ctx), nil)
	r.read(ctx, 0, Block)
	r.read(ctx, 1, Block)
	r.readErr(ctx, dev.ErrEndOfData)
}

// testEnd writes to the physical end: what was said to be written is there, and
// what was not is not.
func testEnd(ctx context.Context, r *rig) {
	const size = 64 << 10
	written, warned := 0, 0
	var err error
	for range r.lib.Capacity/size + 2 {
		err = r.drive.Write(ctx, block(written, size))
		if err == nil && warned > 0 {
			r.fail("block %d was written without the warning that earlier ones had", written)
		}
		if err != nil && !errors.Is(err, dev.ErrEarlyWarning) {
			break
		}
		if err != nil {
			warned++
		}
		written++
	}
	r.want("write at the end", err, dev.ErrVolumeOverflow)
	r.want("write at the end again", r.drive.Write(ctx, block(written, size)), dev.ErrVolumeOverflow)
	if warned == 0 || int64(warned) > r.lib.Reserve/size+1 {
		r.fail("%d of %d blocks came with early warning, which leaves %d bytes", warned, written, r.lib.Reserve)
	}
	if int64(written)*size > r.lib.Capacity || int64(written+2)*size < r.lib.Capacity {
		r.fail("%d blocks of %d fit a capacity of %d", written, size, r.lib.Capacity)
	}
	p, err := r.drive.Position(ctx)
	r.want("position", err, nil)
	if p.Block != int64(written) || !p.EOP {
		r.fail("position %+v; want block %d, end of partition", p, written)
	}
	r.want("flush", r.drive.WriteFilemarks(ctx, 0, false), nil)
	r.want("rewind", r.drive.Rewind(ctx), nil)
	for n := range written {
		r.read(ctx, n, size)
	}
	r.readErr(ctx, dev.ErrEndOfData)
}

func testReservation(ctx context.Context, r *rig) {
	other, err := r.lib.Finder.Drive(ctx, r.lib.Drives[0])
	r.want("opening the drive again", err, nil)
	if err != nil {
		return
	}
	r.want("reserve", r.drive.Reserve(ctx, "a", false), nil)
	r.want("reserve again", r.drive.Reserve(ctx, "a", false), nil)
	r.want("reserve for another", other.Reserve(ctx, "b", false), dev.ErrReservation)
	r.write(ctx, 0, Block)
	r.want("reserve by force", other.Reserve(ctx, "b", true), nil)
	r.want("write after the drive was taken", r.drive.Write(ctx, block(1, Block)), dev.ErrReservation)
	r.want("reserve after the drive was taken", r.drive.Reserve(ctx, "a", false), dev.ErrReservation)
	r.want("write of the holder", other.Write(ctx, block(1, Block)), nil)
	r.want("give back", other.Reserve(ctx, "", false), nil)
	r.want("reserve", r.drive.Reserve(ctx, "a", false), nil)
	r.wantAt(ctx, "after the reservations", 2, 0)
}

func testReservationStays(ctx context.Context, r *rig) {
	r.want("reserve", r.drive.Reserve(ctx, "a", false), nil)
	r.write(ctx, 0, Block)
	r.want("close", r.drive.Close(), nil)
	d, err := r.lib.Finder.Drive(ctx, r.lib.Drives[0])
	r.want("opening the drive again", err, nil)
	if err != nil {
		return
	}
	r.drive = d
	r.want("reserve for another", d.Reserve(ctx, "b", false), dev.ErrReservation)
	r.want("reserve for the same holder", d.Reserve(ctx, "a", false), nil)
	r.wantAt(ctx, "in the new handle", 1, 0)
}

func testReload(ctx context.Context, r *rig) {
	layout(ctx, r)
	r.want("locate", r.drive.Locate(ctx, 4), nil)
	r.want("unload", r.drive.Unload(ctx), nil)
	r.want("unload again", r.drive.Unload(ctx), nil)
	s, err := r.drive.Status(ctx)
	r.want("status", err, nil)
	if s.Ready {
		r.fail("status after unload: %+v", s)
	}
	r.want("load", r.drive.Load(ctx), nil)
	r.wantAt(ctx, "after load", 0, 0)
	r.want("locate", r.drive.Locate(ctx, 4), nil)
	r.read(ctx, 4, 100)
}

func testHollow(ctx context.Context, r *rig) {
	d, ok := r.drive.(dev.HollowDrive)
	if !ok {
		return
	}
	r.write(ctx, 0, Block)
	n, err := d.WriteHollow(ctx, 10*Block+5, Block, nil)
	if errors.Is(err, dev.ErrNotSupported) {
		return // a medium of real records only
	}
	r.want("hollow write", err, nil)
	r.wantCount("hollow write", n, 10*Block+5)
	r.marks(ctx, 1)
	r.wantAt(ctx, "after hollow blocks", 13, 1)
	r.want("rewind", d.Rewind(ctx), nil)
	n, err = d.ReadHollow(ctx, 1<<40, nil)
	r.want("hollow read of a real block", err, nil)
	r.wantCount("hollow read of a real block", n, 0)
	r.read(ctx, 0, Block)
	n, err = d.ReadHollow(ctx, 3*Block+1, nil)
	r.want("hollow read", err, nil)
	r.wantCount("hollow read", n, 3*Block)
	r.wantAt(ctx, "after three hollow blocks", 4, 0)
	n, err = d.ReadHollow(ctx, 1<<40, nil)
	r.want("hollow read of the rest", err, nil)
	r.wantCount("hollow read of the rest", n, 7*Block+5)
	r.readErr(ctx, dev.ErrFilemark)
	n, err = d.WriteHollow(ctx, r.lib.Capacity*2, Block, nil)
	r.want("hollow write to the end", err, dev.ErrEarlyWarning)
	if n%Block != 0 || n < r.lib.Capacity-r.lib.Reserve-16*Block || n > r.lib.Capacity-r.lib.Reserve {
		r.fail("%d hollow bytes before early warning; capacity %d, reserve %d", n, r.lib.Capacity, r.lib.Reserve)
	}
	r.want("write after early warning", d.Write(ctx, block(1, Block)), dev.ErrEarlyWarning)
}
