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
	"capstan/hw/tape/tapetest"
)

//go:generate go test -run ^TestConditions$ -count=1 . -update

var update = flag.Bool("update", false, "write testdata/conditions.txt anew")

// TestConditions has each condition end each operation. Every outcome is documented,
// and after it the drive is where it says, or says that it does not know; nothing that
// was durable is gone, and nothing is on the tape that nobody wrote.
func TestConditions(t *testing.T) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "CONDITION")
	for _, op := range tapetest.Operations() {
		fmt.Fprint(w, "\t", op.Name)
	}
	fmt.Fprintln(w)
	for _, c := range tapetest.Conditions() {
		fmt.Fprint(w, c.Name)
		for _, op := range tapetest.Operations() {
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
func met(t *testing.T, c tapetest.Condition, op tapetest.Operation) string {
	var words []string
	for _, done := range c.Dones() {
		f := fault{code: op.Code, sense: c.Sense, status: c.Status, err: c.Err, done: done}
		u := newUnit()
		with(t, u, Options{}, func(ctx context.Context, x *fixture) {
			x.layout(ctx)
			before := len(u.objects)
			if op.Before != nil {
				x.want(op.Name+": before", op.Before(ctx, x.d), nil)
			}
			u.faults = []fault{f}
			err := op.Run(ctx, x.d)
			if len(u.faults) != 0 {
				x.Errorf("%s, %s: the command was not sent", c.Name, op.Name)
			}
			u.faults = nil
			words = append(words, tapetest.Word(err))
			judge(ctx, x, c.Name+", "+op.Name, op, before, err)
		})
	}
	if len(words) == 2 && words[0] != words[1] {
		return words[0] + "/" + words[1]
	}
	return words[0]
}

// judge looks behind the drive's back.
func judge(ctx context.Context, x *fixture, what string, op tapetest.Operation, before int, err error) {
	x.Helper()
	u, d := x.u, x.d
	if strings.HasPrefix(tapetest.Word(err), tapetest.Undocumented) {
		x.Errorf("%s: %v", what, err)
	}
	if d.known && u.loaded && int(d.at.Block) != u.pos {
		x.Errorf("%s: the drive counts block %d and is at %d (%v)", what, d.at.Block, u.pos, err)
	}
	for n, want := range tapetest.Layout() {
		if n >= len(u.objects) || !bytes.Equal(u.objects[n], want) {
			x.Errorf("%s: object %d is not what was made durable", what, n)
		}
	}
	switch {
	case !op.Writes && len(u.objects) != before:
		x.Errorf("%s: the tape has %d objects, it had %d", what, len(u.objects), before)
	case len(u.objects) > before+1:
		x.Errorf("%s: %d objects were written", what, len(u.objects)-before)
	case op.Name == "Write" && (err == nil || errors.Is(err, dev.ErrEarlyWarning) || errors.Is(err, dev.ErrProgrammableWarning)):
		if len(u.objects) != before+1 || !bytes.Equal(u.objects[before], tapetest.Fresh()) {
			x.Errorf("%s: the block that was acknowledged is not on the tape (%v)", what, err)
		}
	}
	at, known, all := u.pos, d.known, len(u.objects)
	if err := d.Write(ctx, block(99, 50)); err == nil && (!known || len(u.objects) != at+1) {
		x.Errorf("%s: a write at an unknown position went through, at %d of %d", what, at, all)
	}
}
