// Package bad uses everything that core may not use.
package bad

import (
	"context"
	crand "crypto/rand" // want `package crypto/rand may not be used here`
	"hash/maphash"      // want `package hash/maphash may not be used here`
	"math/rand/v2"
	"reflect"
	"sync"        // want `package sync may not be used here`
	"sync/atomic" // want `package sync/atomic may not be used here`
	"time"
)

var counter int
var table = map[string]int{}
var config struct{ n int }

func init() { counter = 1 }

func tasks(c chan int, in <-chan int, mu *sync.Mutex, n *atomic.Int64, h *maphash.Hash) {
	go tasks(c, in, mu, n, h) // want `the go statement may not be used here`
	c <- 1                    // want `channels may not be used here`
	<-in                      // want `channels may not be used here`
	for range in {            // want `channels may not be used here`
	}
	close(c)           // want `channels may not be used here`
	_ = make(chan int) // want `channels may not be made here`
	select {}          // want `select may not be used here`
}

func clocks(ctx context.Context) time.Duration {
	start := time.Now()                           // want `time.Now may not be used here: use the clock and timers of core/rt`
	time.Sleep(time.Second)                       // want `time.Sleep may not be used here`
	f := time.Since                               // want `time.Since may not be used here`
	_ = start.In(time.Local)                      // want `time.Local may not be used here`
	ctx, stop := context.WithCancel(ctx)          // want `context.WithCancel may not be used here`
	_, stop2 := context.WithTimeout(ctx, f(start)) // want `context.WithTimeout may not be used here`
	stop()
	stop2()
	if time.Unix(0, 0).After(start) { // a method, and no timer
		return time.Second
	}
	_ = context.WithoutCancel(ctx)
	return 0
}

func chance() int {
	_, _ = crand.Read(nil)
	r := rand.New(rand.NewPCG(1, 2))
	return r.IntN(6) + rand.IntN(6) // want `rand.IntN draws from the global source`
}

func hides() {
	defer func() {
		_ = recover() // want `recover may not be used here`
	}()
	_ = reflect.ValueOf(table).MapKeys() // want `reflect.Value.MapKeys may not be used here`
}

func writes() {
	counter++        // want `the package variable counter is written after the start`
	table["a"] = 1   // want `the package variable table is written after the start`
	config.n = 2     // want `the package variable config is written after the start`
	counter := table // a local variable
	counter = nil
	_ = counter
}
