package tape

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"

	"capstan/core/dev"
	"capstan/core/scsi"
)

//go:generate go test -run ^TestConditions$ -count=1 . -update

var update = flag.Bool("update", false, "write testdata/conditions.txt anew")

// said is a condition with which a drive ends a command.
type said struct {
	name   string
	sense  scsi.Sense
	status scsi.Status
	err    error
}

func sensed(name string, key, asc, ascq uint8) said {
	return said{name: name, sense: *check(key, asc, ascq)}
}

func flagged(s said, set func(s *scsi.Sense)) said {
	set(&s.sense)
	return s
}

// conditions are what drives say, by key.
func conditions() []said {
	eom := func(s *scsi.Sense) { s.EOM = true }
	late := func(s *scsi.Sense) { s.Deferred = true }
	return []said{
		flagged(sensed("early warning", 0, 0, 2), eom),
		sensed("programmable early warning", 0, 0, 7),
		sensed("cleaning requested", 0, 0, 0x17),
		sensed("cleaning requested, IBM", 0, 0x82, 0x82),
		sensed("recovered", 1, 0x17, 1),
		flagged(sensed("an earlier error recovered", 1, 0x17, 1), late),
		sensed("becoming ready", 2, 4, 1),
		sensed("not loaded", 2, 4, 2),
		sensed("operator", 2, 4, 3),
		sensed("cleaning cartridge", 2, 0x30, 3),
		sensed("no medium", 2, 0x3A, 0),
		sensed("write error", 3, 0x0C, 0),
		flagged(sensed("an earlier write's error", 3, 0x0C, 0), late),
		sensed("read error", 3, 0x11, 0),
		sensed("foreign format", 3, 0x30, 2),
		sensed("end of data not found", 3, 0x14, 3),
		sensed("block guard", 4, 0x10, 1),
		sensed("hardware", 4, 0x44, 0),
		sensed("unknown operation code", 5, 0x20, 0),
		sensed("invalid field", 5, 0x24, 0),
		sensed("removal prevented", 5, 0x53, 2),
		sensed("medium changed", 6, 0x28, 0),
		sensed("power on", 6, 0x29, 0),
		sensed("bus reset", 6, 0x29, 2),
		sensed("mode parameters changed", 6, 0x2A, 1),
		sensed("reservations preempted", 6, 0x2A, 3),
		sensed("key changed by another", 6, 0x2A, 0x11),
		sensed("microcode changed", 6, 0x3F, 1),
		sensed("write protected", 7, 0x27, 0),
		sensed("no key", 7, 0x74, 1),
		sensed("end of data", 8, 0, 5),
		sensed("no end of data", 8, 0x14, 3),
		sensed("aborted", 0xB, 0x47, 3),
		flagged(sensed("volume overflow", 0xD, 0, 2), eom),
		{name: "reservation conflict", status: scsi.ReservationConflict},
		{name: "busy", status: scsi.Busy},
		{name: "task set full", status: scsi.TaskSetFull},
		{name: "task aborted", status: scsi.TaskAborted},
		{name: "does not answer", err: dev.ErrGone},
	}
}

// operation is a call of the drive, and the command at which it is disturbed.
type operation struct {
	name   string
	code   byte
	writes bool
	before func(ctx context.Context, d *Drive) error
	run    func(ctx context.Context, d *Drive) error
}

func operations() []operation {
	to4 := func(ctx context.Context, d *Drive) error { return d.Locate(ctx, 4) }
	return []operation{
		{"Write", scsi.Write6, true, nil, func(ctx context.Context, d *Drive) error { return d.Write(ctx, block(7, 100)) }},
		{"Filemark", scsi.WriteFilemarks6, true, nil, func(ctx context.Context, d *Drive) error { return d.WriteFilemarks(ctx, 1, false) }},
		{"Immediate", scsi.WriteFilemarks6, true, nil, func(ctx context.Context, d *Drive) error { return d.WriteFilemarks(ctx, 1, true) }},
		{"Read", scsi.Read6, false, to4, func(ctx context.Context, d *Drive) error {
			p := make([]byte, 100)
			n, err := d.Read(ctx, p)
			if err == nil && !bytes.Equal(p[:n], block(4, 100)) {
				return errors.New("WRONG BYTES")
			}
			return err
		}},
		{"Locate", scsi.Locate16, false, nil, func(ctx context.Context, d *Drive) error { return d.Locate(ctx, 2) }},
		{"Space", scsi.Space6, false, nil, func(ctx context.Context, d *Drive) error { return d.Space(ctx, -1) }},
		{"ToEnd", scsi.Space6, false, to4, func(ctx context.Context, d *Drive) error { return d.SpaceToEnd(ctx) }},
		{"Rewind", scsi.Rewind, false, nil, func(ctx context.Context, d *Drive) error { return d.Rewind(ctx) }},
		{"Position", scsi.ReadPosition, false, nil, func(ctx context.Context, d *Drive) error { _, err := d.Position(ctx); return err }},
		{"Erase", scsi.Erase6, true, nil, func(ctx context.Context, d *Drive) error { return d.Erase(ctx) }},
		{"Unload", scsi.LoadUnload, false, nil, func(ctx context.Context, d *Drive) error { return d.Unload(ctx) }},
		{"Load", scsi.LoadUnload, false, func(ctx context.Context, d *Drive) error { return d.Unload(ctx) },
			func(ctx context.Context, d *Drive) error { return d.Load(ctx) }},
	}
}

// documented are the conditions of package dev, by the words of the table.
var documented = []struct {
	err  error
	word string
}{
	{dev.ErrFilemark, "filemark"}, {dev.ErrEarlyWarning, "early warning"}, {dev.ErrProgrammableWarning, "warning"},
	{dev.ErrNotLoaded, "not loaded"}, {dev.ErrNoMedium, "no medium"}, {dev.ErrOperator, "operator"}, {dev.ErrCleaningCartridge, "cleaning"},
	{dev.ErrMediumChanged, "changed"}, {dev.ErrEncryption, "encryption"}, {dev.ErrAttention, "attention"}, {dev.ErrReservation, "reservation"},
	{dev.ErrEndOfData, "end of data"}, {dev.ErrBeginning, "beginning"}, {dev.ErrVolumeOverflow, "overflow"},
	{dev.ErrIncompatible, "incompatible"}, {dev.ErrProtection, "protection"}, {dev.ErrMedium, "medium"}, {dev.ErrHardware, "hardware"},
	{dev.ErrWriteProtected, "protected"}, {dev.ErrRemovalPrevented, "prevented"}, {dev.ErrNotSupported, "not supported"},
	{dev.ErrAborted, "aborted"}, {dev.ErrGone, "gone"}, {dev.ErrNotReady, "not ready"}, {dev.ErrPositionLost, "position lost"},
}

func word(err error) string {
	if err == nil {
		return "done"
	}
	for _, d := range documented {
		if errors.Is(err, d.err) {
			return d.word
		}
	}
	return "UNDOCUMENTED " + err.Error()
}

// TestConditions has each condition end each operation. Every outcome is documented,
// and after it the drive is where it says, or says that it does not know; nothing that
// was durable is gone, and nothing is on the tape that nobody wrote.
func TestConditions(t *testing.T) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "CONDITION")
	for _, op := range operations() {
		fmt.Fprint(w, "\t", op.name)
	}
	fmt.Fprintln(w)
	for _, c := range conditions() {
		fmt.Fprint(w, c.name)
		for _, op := range operations() {
			fmt.Fprint(w, "\t", met(t, c, op))
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	t.Logf("what each condition becomes:\n%s", table.String())
	const golden = "testdata/conditions.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(table.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != table.String() {
		t.Errorf("the table differs from %s; see go generate", golden)
	}
}

// met is the outcome of one operation that meets one condition: both if the drive had
// carried the command out and if it had not, which nobody can tell from an error.
func met(t *testing.T, c said, op operation) string {
	var words []string
	for _, done := range dones(c) {
		f := fault{code: op.code, sense: c.sense, status: c.status, err: c.err, done: done}
		u := newUnit()
		with(t, u, Options{}, func(ctx context.Context, x *fixture) {
			x.layout(ctx)
			before := len(u.objects)
			if op.before != nil {
				x.want(op.name+": before", op.before(ctx, x.d), nil)
			}
			u.faults = []fault{f}
			err := op.run(ctx, x.d)
			if len(u.faults) != 0 {
				x.Errorf("%s, %s: the command was not sent", c.name, op.name)
			}
			u.faults = nil
			words = append(words, word(err))
			judge(ctx, x, c.name+", "+op.name, op, before, err)
		})
	}
	if len(words) == 2 && words[0] != words[1] {
		return words[0] + "/" + words[1]
	}
	return words[0]
}

func dones(c said) []bool {
	switch {
	case c.sense.Deferred, c.status != 0:
		return []bool{false} // by the standards it was not begun
	case c.err != nil:
		return []bool{false, true}
	}
	switch c.sense.Key {
	case scsi.NoSense, scsi.RecoveredError:
		return []bool{true}
	case scsi.MediumError, scsi.HardwareError, scsi.AbortedCommand:
		return []bool{false, true}
	}
	return []bool{false}
}

// judge looks behind the drive's back.
func judge(ctx context.Context, x *fixture, what string, op operation, before int, err error) {
	x.Helper()
	u, d := x.u, x.d
	if strings.HasPrefix(word(err), "UNDOCUMENTED") {
		x.Errorf("%s: %v", what, err)
	}
	if d.known && u.loaded && int(d.at.Block) != u.pos {
		x.Errorf("%s: the drive counts block %d and is at %d (%v)", what, d.at.Block, u.pos, err)
	}
	for n, want := range [][]byte{block(0, 1000), block(1, 1000), block(2, 1000), nil, block(4, 100), nil, nil} {
		if n >= len(u.objects) || !bytes.Equal(u.objects[n], want) {
			x.Errorf("%s: object %d is not what was made durable", what, n)
		}
	}
	switch {
	case !op.writes && len(u.objects) != before:
		x.Errorf("%s: the tape has %d objects, it had %d", what, len(u.objects), before)
	case len(u.objects) > before+1:
		x.Errorf("%s: %d objects were written", what, len(u.objects)-before)
	case op.name == "Write" && (err == nil || errors.Is(err, dev.ErrEarlyWarning) || errors.Is(err, dev.ErrProgrammableWarning)):
		if len(u.objects) != before+1 || !bytes.Equal(u.objects[before], block(7, 100)) {
			x.Errorf("%s: the block that was acknowledged is not on the tape (%v)", what, err)
		}
	}
	at, known, all := u.pos, d.known, len(u.objects)
	if err := d.Write(ctx, block(99, 50)); err == nil && (!known || len(u.objects) != at+1) {
		x.Errorf("%s: a write at an unknown position went through, at %d of %d", what, at, all)
	}
}
