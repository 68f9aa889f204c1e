// Package simtest runs a test in virtual time.
package simtest

import (
	"context"
	"testing"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/sim"
)

// Run runs body as a process of a host in a new world, where waits cost no time.
// What the world finds wrong at its end, a deadlock for instance, is the test's error.
func Run(t *testing.T, body func(ctx context.Context)) {
	t.Helper()
	w := sim.New(sim.Options{Seed: 1})
	defer w.Close()
	h := w.NewHost("host", pbx.Media)
	h.Boot()
	err := w.Do(h, "test", func(ctx context.Context, _ *host.Env) error {
		body(ctx)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
