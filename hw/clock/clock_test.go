package clock

import (
	"context"
	"errors"
	"testing"

	"capstan/core/rt"
	"capstan/core/rt/rttest"
)

func TestConformance(t *testing.T) {
	rttest.Run(t, func(_ testing.TB, body func(ctx context.Context)) {
		body(New().Context(context.Background(), "test"))
	})
}

// A task under a context of the standard library follows its end, and so do
// those that wait for its Done.
func TestContextFollowsParent(t *testing.T) {
	why := errors.New("why")
	parent, cancel := context.WithCancelCause(context.Background())
	ctx := Context(parent, "test")
	kid, endKid := rt.WithCancel(ctx)
	defer endKid(nil)
	rt.Go(ctx, "canceller", func(context.Context) { cancel(why) })
	if err := rt.NewEvent(ctx).Wait(kid); !errors.Is(err, why) {
		t.Errorf("wait: %v, want the parent's cause", err)
	}
	<-kid.Done()
	<-ctx.Done()
}

func TestRandDiffersBetweenProcesses(t *testing.T) {
	if New().Rand("a", "b").Uint64() == New().Rand("a", "b").Uint64() {
		t.Error("two runtimes draw alike")
	}
}

func BenchmarkUnparkPark(b *testing.B) {
	task := rt.Current(Context(context.Background(), "bench"))
	b.ReportAllocs()
	for b.Loop() {
		task.Unpark()
		task.ParkFor(1 << 40)
	}
}
