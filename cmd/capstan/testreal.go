package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"capstan/internal/rehearsal"
	"capstan/internal/twin"
)

// real runs a scenario in the real world, in a temporary directory.
func (t *tested) real(ctx context.Context) {
	if why := rehearsal.Refuses(t.scenario); why != "" {
		t.skipped = "not for the real world: " + why
		return
	}
	dir, err := os.MkdirTemp("", "capstan-test-")
	if err != nil {
		t.err = err
		return
	}
	r, err := rehearsal.Run(ctx, t.scenario, rehearsal.Options{Dir: dir, Command: daemonProcess, Places: t.places})
	if t.err = errors.Join(err, removeAll(dir)); t.err != nil {
		return
	}
	t.failures = r.Failed
	t.note = fmt.Sprintf("real world, %d jobs", r.Jobs)
	if r.Unchecked > 0 {
		t.note += fmt.Sprintf("; %d not checked: times, mounts, and what is for the virtual world", r.Unchecked)
	}
}

// both plays a scenario in both worlds, and keeps the table of its jobs.
func (t *tested) both(ctx context.Context, timing int64) {
	if why := twin.Refuses(t.scenario); why != "" {
		t.skipped = "not for both worlds: " + why
		return
	}
	dir, err := os.MkdirTemp("", "capstan-test-")
	if err != nil {
		t.err = err
		return
	}
	r, err := twin.Run(ctx, t.scenario, twin.Options{Dir: dir, Command: daemonProcess, Timing: timing})
	if t.err = errors.Join(err, removeAll(dir)); t.err != nil {
		return
	}
	var table strings.Builder
	if t.err = r.Write(&table); t.err == nil && !r.Agree() {
		t.err = errors.New("the worlds differ")
	}
	t.note, t.table = fmt.Sprintf("both worlds, %d jobs", len(r.Pairs)), strings.TrimSuffix(table.String(), "\n")
}
