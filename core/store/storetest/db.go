// Package storetest holds what every implementation of the store seam must do:
// [RunDB] for databases and [RunDir] for directories, in either world.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/rt"
	"capstan/core/store"
)

// Run runs body as a task of a new world and returns when it has ended.
type Run func(t *testing.T, body func(ctx context.Context))

// Database is durable state that can be opened again and again.
type Database interface {
	Open(ctx context.Context, schemas ...*store.Schema) (store.DB, error)
	// Crash ends whoever has the database open, without warning.
	Crash(ctx context.Context)
}

// Account is a record of the suite's table.
type Account struct {
	Name    string   `json:"name"`
	Owner   string   `json:"owner"`
	Balance int64    `json:"balance"`
	Tags    []string `json:"tags,omitempty"`
}

var accounts = store.Declare[string, Account]("account", 1, store.StringKey, nil,
	store.Index[Account]{Name: "owner", Key: func(a Account) string { return a.Owner }},
	store.Index[Account]{Name: "balance", Key: func(a Account) string { return store.IntKey(a.Balance) }},
)

var counters = store.Declare[int64, int64]("counter", 1, store.IntKey, nil)

// RunDB runs the suite; fresh makes an empty database.
func RunDB(t *testing.T, run Run, fresh func(t *testing.T) Database) {
	for _, c := range []struct {
		name string
		body func(ctx context.Context, t *testing.T, d Database)
	}{
		{"GetPutDelete", testGetPutDelete},
		{"FailingUpdateChangesNothing", testRollback},
		{"ScanOrder", testScan},
		{"ScanShowsItsBeginning", testScanSnapshot},
		{"ScanShowsChangedRecordsAsTheyWere", testScanOfChanged},
		{"ViewChangesNothing", testView},
		{"Sequence", testSequence},
		{"Versions", testVersions},
		{"IndexAddedLater", testIndexAdded},
		{"Crash", testCrash},
		{"Closed", testClosed},
		{"Undeclared", testUndeclared},
		{"ConcurrentTotals", testTotals},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := fresh(t)
			run(t, func(ctx context.Context) { c.body(ctx, t, d) })
		})
	}
	t.Run("Model", func(t *testing.T) { testModel(t, run, fresh) })
	t.Run("Serializable", func(t *testing.T) { testSerializable(t, run, fresh) })
}

// open opens d with the suite's tables; nil after a failure.
func open(ctx context.Context, t *testing.T, d Database) store.DB {
	db, err := d.Open(ctx, accounts.Schema(), counters.Schema())
	if err != nil {
		t.Errorf("open: %v", err)
		panic("storetest: no database")
	}
	return db
}

func update(ctx context.Context, t *testing.T, db store.DB, fn func(tx store.Tx) error) {
	t.Helper()
	if err := db.Update(ctx, fn); err != nil {
		t.Errorf("update: %v", err)
	}
}

func put(ctx context.Context, t *testing.T, db store.DB, all ...Account) {
	t.Helper()
	update(ctx, t, db, func(tx store.Tx) error {
		for _, a := range all {
			if err := accounts.Put(tx, a.Name, a); err != nil {
				return err
			}
		}
		return nil
	})
}

// all reads the accounts in key order.
func all(ctx context.Context, t *testing.T, db store.DB) []Account {
	t.Helper()
	var got []Account
	err := db.View(ctx, func(tx store.Tx) error {
		got = nil
		return accounts.All(tx, func(a Account) (bool, error) {
			got = append(got, a)
			return true, nil
		})
	})
	if err != nil {
		t.Errorf("view: %v", err)
	}
	return got
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func testGetPutDelete(ctx context.Context, t *testing.T, d Database) {
	db := open(ctx, t, d)
	a := Account{Name: "a", Owner: "o'x\"", Balance: 1 << 60, Tags: []string{"x", "ÿ"}}
	const key = "a\x00b é \xff" // a key is any bytes
	for _, v := range []Account{{Name: "before"}, a} {
		update(ctx, t, db, func(tx store.Tx) error { return accounts.Put(tx, key, v) })
	}
	update(ctx, t, db, func(tx store.Tx) error {
		got, ok, err := accounts.Get(tx, key)
		if !ok || err != nil {
			t.Errorf("get: %v, %v", ok, err)
		}
		same(t, "got", got, a)
		if err := accounts.Delete(tx, "none"); err != nil {
			t.Errorf("delete what is not there: %v", err)
		}
		if err := accounts.Delete(tx, key); err != nil {
			return err
		}
		if _, ok, err := accounts.Get(tx, key); ok || err != nil {
			t.Errorf("get in the transaction that deleted: %v, %v", ok, err)
		}
		return nil
	})
	same(t, "after delete", len(all(ctx, t, db)), 0)
}

var errTest = errors.New("as the test says")

func testRollback(ctx context.Context, t *testing.T, d Database) {
	db := open(ctx, t, d)
	a, b := Account{Name: "a", Owner: "x"}, Account{Name: "b", Owner: "y"}
	put(ctx, t, db, a, b)
	err := db.Update(ctx, func(tx store.Tx) error {
		for _, step := range []error{
			accounts.Put(tx, "a", Account{Name: "a", Owner: "x", Tags: []string{"1"}}),
			accounts.Put(tx, "a", Account{Name: "a", Owner: "x", Tags: []string{"2"}}),
			accounts.Put(tx, "a", Account{Name: "a", Owner: "z", Balance: 9}),
			accounts.Put(tx, "a", Account{Name: "a", Owner: "z", Balance: 9, Tags: []string{"3"}}),
			accounts.Delete(tx, "b"),
			accounts.Put(tx, "c", Account{Name: "c"}),
			accounts.Delete(tx, "a"),
		} {
			if step != nil {
				t.Errorf("step: %v", step)
			}
		}
		return errTest
	})
	if !errors.Is(err, errTest) {
		t.Errorf("update: %v, want fn's error", err)
	}
	same(t, "rolled back", all(ctx, t, db), []Account{a, b})
	same(t, "index rolled back", by(ctx, t, db, "owner", "", ""), []string{"a", "b"})
}

// by gives the names of the accounts of an index.
func by(ctx context.Context, t *testing.T, db store.DB, index, from, to string) []string {
	t.Helper()
	var names []string
	err := db.View(ctx, func(tx store.Tx) error {
		names = nil
		return accounts.By(tx, index, from, to, func(a Account) (bool, error) {
			names = append(names, a.Name)
			return true, nil
		})
	})
	if err != nil {
		t.Errorf("scan of %s: %v", index, err)
	}
	return names
}

func testScan(ctx context.Context, t *testing.T, d Database) {
	db := open(ctx, t, d)
	var list []Account
	for i := range 1000 { // more than any implementation reads at once
		list = append(list, Account{Name: fmt.Sprintf("n%03d", i), Owner: fmt.Sprintf("o%d", i%3), Balance: int64(1000 - i)})
	}
	put(ctx, t, db, list...)
	same(t, "by key", all(ctx, t, db), list)
	got := by(ctx, t, db, "balance", store.IntKey(10), store.IntKey(13))
	same(t, "by balance from 10 to below 13", got, []string{"n990", "n989", "n988"})
	got = by(ctx, t, db, "owner", "o1", "o2")
	same(t, "number of o1", len(got), 333)
	same(t, "first of o1", got[0], "n001")
	same(t, "last of o1", got[332], "n997")
	same(t, "from o2 without end", len(by(ctx, t, db, "owner", "o2", "")), 333)
	same(t, "from behind all", len(by(ctx, t, db, "owner", "o3", "")), 0)
	err := db.View(ctx, func(tx store.Tx) error {
		n := 0
		err := accounts.Range(tx, "n500", "n600", func(a Account) (bool, error) {
			n++
			return a.Name < "n549", nil
		})
		same(t, "records before the stop", n, 50)
		if err := accounts.All(tx, func(Account) (bool, error) { return true, errTest }); !errors.Is(err, errTest) {
			t.Errorf("scan whose fn fails: %v", err)
		}
		return err
	})
	if err != nil {
		t.Errorf("view: %v", err)
	}
}

func testScanSnapshot(ctx context.Context, t *testing.T, d Database) {
	db := open(ctx, t, d)
	update(ctx, t, db, func(tx store.Tx) error {
		for i := range 600 {
			name := fmt.Sprintf("n%03d", i)
			if err := accounts.Put(tx, name, Account{Name: name, Owner: "o"}); err != nil {
				return err
			}
		}
		return nil
	})
	update(ctx, t, db, func(tx store.Tx) error {
		seen := 0
		err := accounts.By(tx, "owner", "o", "", func(a Account) (bool, error) {
			seen++
			if err := accounts.Delete(tx, a.Name); err != nil {
				return false, err
			}
			b := Account{Name: a.Name + "x", Owner: "o"}
			return true, accounts.Put(tx, b.Name, b)
		})
		same(t, "records seen while they are replaced", seen, 600)
		return err
	})
	got := all(ctx, t, db)
	same(t, "records", len(got), 600)
	same(t, "first", got[0].Name, "n000x")
}

// A scan shows a record as it was also if it is changed under its key and in its place in
// every index, whether it was got before or is put twice.
func testScanOfChanged(ctx context.Context, t *testing.T, d Database) {
	db := open(ctx, t, d)
	names := []string{"a", "b", "c"}
	for _, name := range names {
		put(ctx, t, db, Account{Name: name, Owner: "o"})
	}
	update(ctx, t, db, func(tx store.Tx) error {
		if _, _, err := accounts.Get(tx, "c"); err != nil {
			return err
		}
		return accounts.By(tx, "owner", "o", "", func(a Account) (bool, error) {
			same(t, "record of the scan", a, Account{Name: a.Name, Owner: "o"})
			for _, name := range []string{"c", "c", "b"} {
				if err := accounts.Put(tx, name, Account{Name: name, Owner: "o", Tags: []string{"seen " + a.Name}}); err != nil {
					return false, err
				}
			}
			return true, nil
		})
	})
	same(t, "records after the scan", all(ctx, t, db), []Account{
		{Name: "a", Owner: "o"}, {Name: "b", Owner: "o", Tags: []string{"seen c"}}, {Name: "c", Owner: "o", Tags: []string{"seen c"}},
	})
}

func testView(ctx context.Context, t *testing.T, d Database) {
	db := open(ctx, t, d)
	err := db.View(ctx, func(tx store.Tx) error { return accounts.Put(tx, "a", Account{Name: "a"}) })
	if err == nil {
		t.Error("a put in a View is no error")
	}
	if err := db.View(ctx, func(store.Tx) error { return errTest }); !errors.Is(err, errTest) {
		t.Errorf("view: %v, want fn's error", err)
	}
	same(t, "after a put in a View", len(all(ctx, t, db)), 0)
}

func testSequence(ctx context.Context, t *testing.T, d Database) {
	last := int64(0)
	for round := range 6 {
		db := open(ctx, t, d)
		for range 3 {
			n, err := db.Sequence(ctx, "job")
			if err != nil || n <= last || last == 0 && n != 1 {
				t.Errorf("round %d: %d after %d, %v", round, n, last, err)
			}
			last = n
		}
		if round%2 == 0 {
			d.Crash(ctx)
		} else if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	db := open(ctx, t, d)
	if n, err := db.Sequence(ctx, "other"); n != 1 || err != nil {
		t.Errorf("another sequence begins with %d, %v", n, err)
	}
}

type shapeV1 struct {
	Width int `json:"width"`
}

type shapeV2 struct {
	W string `json:"w"`
}

func testVersions(ctx context.Context, t *testing.T, d Database) {
	v1 := store.Declare[string, shapeV1]("shape", 1, store.StringKey, nil)
	v2 := store.Declare("shape", 2, store.StringKey, func(version int, b []byte) (shapeV2, error) {
		if version == 2 {
			var s shapeV2
			return s, json.Unmarshal(b, &s)
		}
		var s shapeV1
		err := json.Unmarshal(b, &s)
		return shapeV2{W: fmt.Sprint(s.Width, " mm")}, err
	})
	db, err := d.Open(ctx, v1.Schema())
	if err != nil {
		t.Errorf("open: %v", err)
		return
	}
	update(ctx, t, db, func(tx store.Tx) error { return v1.Put(tx, "old", shapeV1{7}) })
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if db, err = d.Open(ctx, v2.Schema()); err != nil {
		t.Errorf("open with the newer version: %v", err)
		return
	}
	update(ctx, t, db, func(tx store.Tx) error {
		s, ok, err := v2.Get(tx, "old")
		if s.W != "7 mm" || !ok {
			t.Errorf("older record: %v, %v, %v", s, ok, err)
		}
		return v2.Put(tx, "new", shapeV2{"8 mm"})
	})
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if db, err = d.Open(ctx, v1.Schema()); err != nil {
		return // refused at opening
	}
	err = db.View(ctx, func(tx store.Tx) error {
		_, _, err := v1.Get(tx, "new")
		return err
	})
	if err == nil {
		t.Error("an older program reads a newer record")
	}
}

func testIndexAdded(ctx context.Context, t *testing.T, d Database) {
	plain := store.Declare[string, Account]("account", 1, store.StringKey, nil)
	db, err := d.Open(ctx, plain.Schema())
	if err != nil {
		t.Errorf("open: %v", err)
		return
	}
	update(ctx, t, db, func(tx store.Tx) error {
		for i := range 5 {
			a := Account{Name: fmt.Sprint(i), Owner: "o", Balance: int64(9 - i)}
			if err := plain.Put(tx, a.Name, a); err != nil {
				return err
			}
		}
		return nil
	})
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	db = open(ctx, t, d)
	same(t, "index of older records", by(ctx, t, db, "balance", "", ""), []string{"4", "3", "2", "1", "0"})
}

func testCrash(ctx context.Context, t *testing.T, d Database) {
	db := open(ctx, t, d)
	a := Account{Name: "a", Owner: "x"}
	put(ctx, t, db, a)
	d.Crash(ctx)
	db = open(ctx, t, d)
	same(t, "committed before the crash", all(ctx, t, db), []Account{a})
	crashed := false
	err := db.Update(ctx, func(tx store.Tx) error {
		if err := accounts.Put(tx, "b", Account{Name: "b"}); err != nil {
			return nil // the crash showed
		}
		if !crashed {
			crashed = true
			d.Crash(ctx)
		}
		return accounts.Delete(tx, "a")
	})
	if err == nil {
		// A crash outside the process that runs fn, as with a copy of the files:
		// what counts is what the next opening shows.
		t.Log("the crash did not show in the transaction")
	}
	db = open(ctx, t, d)
	same(t, "after a crash in a transaction", all(ctx, t, db), []Account{a})
}

func testClosed(ctx context.Context, t *testing.T, d Database) {
	db := open(ctx, t, d)
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	nothing := func(store.Tx) error { return nil }
	_, err := db.Sequence(ctx, "job")
	//capstan:unordered each is looked at alone
	for op, err := range map[string]error{"update": db.Update(ctx, nothing), "view": db.View(ctx, nothing), "sequence": err} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s of a closed database: %v", op, err)
		}
	}
}

func testUndeclared(ctx context.Context, t *testing.T, d Database) {
	db, err := d.Open(ctx, counters.Schema())
	if err != nil {
		t.Errorf("open: %v", err)
		return
	}
	if err := db.Update(ctx, func(tx store.Tx) error { return accounts.Put(tx, "a", Account{}) }); err == nil {
		t.Error("a put in a table that was not declared at opening is no error")
	}
}

// testTotals moves money between accounts while readers add it up.
func testTotals(ctx context.Context, t *testing.T, d Database) {
	db := open(ctx, t, d)
	put(ctx, t, db, Account{Name: "0", Balance: 100}, Account{Name: "1", Balance: 100}, Account{Name: "2", Balance: 100})
	g, ctx := rt.NewGroup(ctx)
	for i := range 3 {
		g.Go(ctx, "mover", func(ctx context.Context) error {
			for k := range 10 {
				if err := db.Update(ctx, move(fmt.Sprint(i), fmt.Sprint((i+k)%3))); err != nil {
					return err
				}
			}
			return nil
		})
		g.Go(ctx, "reader", func(ctx context.Context) error {
			for range 10 {
				total := int64(0)
				for _, a := range all(ctx, t, db) {
					total += a.Balance
				}
				same(t, "total", total, int64(300))
			}
			return nil
		})
	}
	if err := g.Wait(ctx); err != nil {
		t.Errorf("movers: %v", err)
	}
}

func move(from, to string) func(tx store.Tx) error {
	return func(tx store.Tx) error {
		//capstan:unordered both are changed in one transaction
		for name, d := range map[string]int64{from: -1, to: +1} {
			a, _, err := accounts.Get(tx, name)
			if err != nil {
				return err
			}
			if from == to {
				d = 0
			}
			a.Balance += d
			if err := accounts.Put(tx, name, a); err != nil {
				return err
			}
		}
		return nil
	}
}

// dbOp is one operation of the model test.
type dbOp struct {
	Kind   int // 0 to 5 put, 6 and 7 delete, 8 crash, 9 fail the transaction
	Key    int
	Amount int64
}

// testModel compares with a map after transactions, crashes and reopenings.
func testModel(t *testing.T, run Run, fresh func(t *testing.T) Database) {
	rapid.Check(t, func(r *rapid.T) {
		txs := rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(func(r *rapid.T) dbOp {
			return dbOp{rapid.IntRange(0, 9).Draw(r, "kind"), rapid.IntRange(0, 9).Draw(r, "key"), rapid.Int64Range(0, 99).Draw(r, "amount")}
		}), 1, 6), 1, 6).Draw(r, "txs")
		d := fresh(t)
		run(t, func(ctx context.Context) { runModel(ctx, t, d, txs) })
		if t.Failed() {
			r.FailNow()
		}
	})
}

func runModel(ctx context.Context, t *testing.T, d Database, txs [][]dbOp) {
	db := open(ctx, t, d)
	var model [10]*Account
	for _, ops := range txs {
		next, crash := model, false
		err := db.Update(ctx, func(tx store.Tx) error {
			next = model
			for _, op := range ops {
				name := fmt.Sprint(op.Key)
				var err error
				switch {
				case op.Kind <= 5:
					a := Account{Name: name, Owner: fmt.Sprint(op.Amount % 2), Balance: op.Amount}
					next[op.Key] = &a
					err = accounts.Put(tx, name, a)
				case op.Kind <= 7:
					next[op.Key] = nil
					err = accounts.Delete(tx, name)
				case op.Kind == 8:
					crash = true
				default:
					err = errTest
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			model = next
		} else if !errors.Is(err, errTest) {
			t.Errorf("update: %v", err)
		}
		if crash {
			d.Crash(ctx)
			db = open(ctx, t, d)
		}
		var want []Account
		for _, a := range model {
			if a != nil {
				want = append(want, *a)
			}
		}
		same(t, "records", all(ctx, t, db), want)
		same(t, "records in the index", len(by(ctx, t, db, "balance", "", "")), len(want))
	}
}

// step is one transaction of the serializability test: it reads one counter and
// writes another from it.
type step struct{ From, To, Add int64 }

// done is what a step saw: its place in the serial order, and the value read.
type done struct {
	step
	order, read int64
}

const orderCounter = 100

func testSerializable(t *testing.T, run Run, fresh func(t *testing.T) Database) {
	rapid.Check(t, func(r *rapid.T) {
		counter := rapid.Int64Range(0, 3)
		plans := rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(func(r *rapid.T) step {
			return step{counter.Draw(r, "from"), counter.Draw(r, "to"), rapid.Int64Range(1, 9).Draw(r, "add")}
		}), 1, 5), 2, 4).Draw(r, "plans")
		d := fresh(t)
		run(t, func(ctx context.Context) { runSerializable(ctx, t, d, plans) })
		if t.Failed() {
			r.FailNow()
		}
	})
}

func runSerializable(ctx context.Context, t *testing.T, d Database, plans [][]step) {
	db := open(ctx, t, d)
	outer := ctx
	g, ctx := rt.NewGroup(ctx)
	results := make([][]done, len(plans))
	total := 0
	for i, plan := range plans {
		total += len(plan)
		g.Go(ctx, "steps", func(ctx context.Context) error {
			for _, s := range plan {
				r := done{step: s}
				if err := db.Update(ctx, r.run); err != nil {
					return err
				}
				results[i] = append(results[i], r)
			}
			return nil
		})
	}
	if err := g.Wait(ctx); err != nil {
		t.Errorf("steps: %v", err)
		return
	}
	serial := make([]done, total+1)
	for _, rs := range results {
		for _, r := range rs {
			if r.order < 1 || r.order > int64(total) || serial[r.order].order != 0 {
				t.Errorf("place %d of %d was given twice or does not exist", r.order, total)
				return
			}
			serial[r.order] = r
		}
	}
	var model [4]int64
	for _, r := range serial[1:] {
		same(t, "value read", r.read, model[r.From])
		model[r.To] = r.read*3 + r.Add
	}
	err := db.View(outer, func(tx store.Tx) error {
		for k, want := range model {
			got, _, err := counters.Get(tx, int64(k))
			if err != nil {
				return err
			}
			same(t, "counter at the end", got, want)
		}
		return nil
	})
	if err != nil {
		t.Errorf("view: %v", err)
	}
}

func (r *done) run(tx store.Tx) error {
	n, _, err := counters.Get(tx, orderCounter)
	if err != nil {
		return err
	}
	r.order = n + 1
	if r.read, _, err = counters.Get(tx, r.From); err != nil {
		return err
	}
	if err := counters.Put(tx, orderCounter, r.order); err != nil {
		return err
	}
	return counters.Put(tx, r.To, r.read*3+r.Add)
}
