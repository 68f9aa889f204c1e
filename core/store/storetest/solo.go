package storetest

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"capstan/core/rt"
)

// Solo is a context for tests of code that takes a context and never waits: its
// task is alone, in a world where no time passes. Waiting in it panics.
func Solo() context.Context { return rt.WithTask(context.Background(), &solo{}) }

type solo struct{ state rt.TaskState }

type noLock struct{}

func (noLock) Lock()   {}
func (noLock) Unlock() {}

func (*solo) Now() rt.Time           { return 0 }
func (*solo) Mono() time.Duration    { return 0 }
func (*solo) NewLock() rt.Lock       { return noLock{} }
func (*solo) Check()                 {}
func (*solo) Unpark()                {}
func (s *solo) State() *rt.TaskState { return &s.state }
func (*solo) Park()                  { panic("storetest: a task that is alone waits") }

func (s *solo) ParkFor(time.Duration) { s.Park() }

func (s *solo) ParkUntil(rt.Time) { s.Park() }

func (*solo) Start(context.Context, string, func(context.Context)) {
	panic("storetest: a task that is alone starts another")
}

func (*solo) After(time.Duration, func()) (stop func()) { return func() {} }

func (*solo) NewDone() (<-chan struct{}, func()) { return nil, func() {} }

func (s *solo) MayBlock() {
	if s.state.Held() > 0 {
		panic("storetest: a task blocks while it holds a mutex")
	}
}

func (*solo) Rand(entity, purpose string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(entity + "\x00" + purpose)) // never fails
	return rand.New(rand.NewPCG(h.Sum64(), 1))
}
