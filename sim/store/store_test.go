package store_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"capstan/core/host"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/store"
	"capstan/core/store/storetest"
	"capstan/sim"
	simstore "capstan/sim/store"
)

// run runs body as a process of a host in a new world.
func run(t *testing.T, body func(ctx context.Context)) {
	t.Helper()
	w := sim.New(sim.Options{Seed: 1})
	defer w.Close()
	err := w.Do(w.NewHost("h", pbx.Master), "body", func(ctx context.Context, _ *host.Env) error {
		body(ctx)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

type database struct{ db *simstore.DB }

func (d database) Open(_ context.Context, schemas ...*store.Schema) (store.DB, error) {
	d.db.Reopen(schemas...)
	return d.db, nil
}

func (d database) Crash(context.Context) { d.db.Crash() }

func TestDB(t *testing.T) {
	for _, check := range []bool{false, true} {
		name := "plain"
		if check {
			name = "checked"
		}
		t.Run(name, func(t *testing.T) {
			storetest.RunDB(t, run, func(*testing.T) storetest.Database {
				db := simstore.NewDB()
				if check {
					db.CheckValues()
				}
				return database{db}
			})
		})
	}
}

func TestDir(t *testing.T) {
	storetest.RunDir(t, run, func(*testing.T) storetest.Directory {
		return storetest.Directory{Dir: simstore.NewDir(0, rand.New(rand.NewPCG(1, 2))), Hollow: true}
	})
}

func TestDirNoSpace(t *testing.T) {
	storetest.RunNoSpace(t, run, func(*testing.T) store.Dir {
		return simstore.NewDir(1<<20, rand.New(rand.NewPCG(1, 2)))
	})
}

func TestDirCrash(t *testing.T) {
	storetest.RunDirCrash(t, run, func(*testing.T) (store.Dir, storetest.Crash) {
		d := simstore.NewDir(0, rand.New(rand.NewPCG(1, 2)))
		return d, func(context.Context) store.Dir { d.Crash(); return d }
	})
}

type thing struct {
	Name string   `json:"name"`
	Tags []string `json:"tags"`
}

var things = store.Declare[string, thing]("thing", 1, store.StringKey, nil)

func TestCheckValues(t *testing.T) {
	run(t, func(ctx context.Context) {
		db := simstore.NewDB()
		db.CheckValues()
		v := thing{Name: "a", Tags: []string{"x"}}
		put := func(tx store.Tx) error { return things.Put(tx, "a", v) }
		if err := db.Update(ctx, put); err != nil {
			t.Errorf("put: %v", err)
		}
		v.Tags[0] = "changed behind the database's back"
		err := db.View(ctx, func(tx store.Tx) error {
			_, _, err := things.Get(tx, "a")
			return err
		})
		if err == nil {
			t.Error("a value that was changed after it was put is no error")
		}
	})
}

// A task that waits in a transaction is a mistake that the world finds.
func TestWaitInTransaction(t *testing.T) {
	w := sim.New(sim.Options{Seed: 1})
	defer w.Close()
	db := simstore.NewDB()
	err := w.Do(w.NewHost("h", pbx.Master), "body", func(ctx context.Context, _ *host.Env) error {
		return db.Update(ctx, func(store.Tx) error { return rt.Sleep(ctx, 1) })
	})
	if err == nil {
		t.Error("a sleep in a transaction is no error")
	}
}

// What was not synced is lost, torn or kept, as chance has it: each happens.
func TestUnsyncedWrites(t *testing.T) {
	run(t, func(ctx context.Context) {
		lengths := map[int64]bool{}
		d := simstore.NewDir(0, rand.New(rand.NewPCG(3, 4)))
		for range 60 {
			f, err := d.Create(ctx, "a")
			if err != nil {
				t.Errorf("create: %v", err)
				return
			}
			if err := errors.Join(f.Sync(), d.Sync(ctx, "")); err != nil {
				t.Errorf("sync: %v", err)
			}
			if _, err := f.WriteAt(make([]byte, 2048), 0); err != nil {
				t.Errorf("write: %v", err)
			}
			d.Crash()
			if f, err = d.Open(ctx, "a"); err != nil {
				t.Errorf("open: %v", err)
				return
			}
			size, err := f.Size()
			if err != nil {
				t.Errorf("size: %v", err)
			}
			lengths[size] = true
		}
		for _, want := range []int64{0, 512, 1024, 1536, 2048} {
			if !lengths[want] {
				t.Errorf("no crash left %d bytes of 2048: got %v", want, lengths)
			}
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	w := sim.New(sim.Options{Seed: 1})
	defer w.Close()
	numbers := store.Declare[int64, int64]("number", 1, store.IntKey, nil)
	db := simstore.NewDB()
	err := w.Do(w.NewHost("h", pbx.Master), "body", func(ctx context.Context, _ *host.Env) error {
		b.ReportAllocs()
		for i := range b.N {
			err := db.Update(ctx, func(tx store.Tx) error { return numbers.Put(tx, int64(i)*7919%1_000_003, 1) })
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
