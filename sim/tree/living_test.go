package tree

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
)

// livingFS has a living tree at /data whose clock the test sets.
func livingFS(t *testing.T, day func(n int) Day) (*FS, *rt.Time) {
	t.Helper()
	now := new(rt.Time)
	*now = rt.Time(1000 * time.Hour)
	fs := New(func(context.Context) rt.Time { return *now }, dev.Resource{Name: "disk", Rate: 1e8})
	l := Living{Begins: rt.Time(1012 * time.Hour), Day: day}
	if err := fs.AddLiving(context.Background(), "/data", l, rand.New(rand.NewPCG(1, 2))); err != nil {
		t.Fatal(err)
	}
	return fs, now
}

// since adds up what an incremental backup would take: what was modified since a time.
func since(t *testing.T, fs *FS, at rt.Time) (sum Hollow, entries int) {
	t.Helper()
	d, err := fs.Open(context.Background(), "/data")
	if err != nil {
		t.Fatal(err)
	}
	names, _ := d.Names(context.Background())
	for _, n := range names {
		i, err := d.Lstat(context.Background(), n)
		if err != nil || i.Files < 1 || i.Size < 0 {
			t.Fatalf("%s: %+v, %v", n, i, err)
		}
		if i.MTime >= at {
			sum.Files, sum.Bytes = sum.Files+i.Files, sum.Bytes+i.Size
		}
	}
	return sum, len(names)
}

func TestLiving(t *testing.T) {
	constant := func(n int) Day {
		d := Day{Files: 1_000_000, Bytes: 1 << 40}
		if n > 0 {
			d.ChangedFiles, d.ChangedBytes = 100_000, 1<<40/10
		}
		return d
	}
	fs, now := livingFS(t, constant)
	for day := range 60 {
		*now = rt.Time(time.Duration(1002+24*day) * time.Hour) // at night, ten hours before the day begins
		all, entries := since(t, fs, 0)
		if all != (Hollow{1_000_000, 1 << 40}) || entries > restEntries+lastDays+1 {
			t.Fatalf("day %d: %d entries hold %+v", day, entries, all)
		}
		one, _ := since(t, fs, now.Add(-24*time.Hour))
		if day == 0 && one.Bytes != 1<<40 || day > 0 && one != (Hollow{100_000, 1 << 40 / 10}) {
			t.Fatalf("day %d: %+v have changed since yesterday", day, one)
		}
		if day < 5 {
			continue
		}
		// Three days change 1 - 0.9³ of all.
		if three, _ := since(t, fs, now.Add(-72*time.Hour)); three.Bytes < 270*(1<<40)/1000 || three.Bytes > 272*(1<<40)/1000 {
			t.Fatalf("day %d: %+v have changed in three days", day, three)
		}
	}
}

// Who has opened the directory goes on with the day on which he did.
func TestLivingIsSeenAsOfOneDay(t *testing.T) {
	fs, now := livingFS(t, func(n int) Day {
		return Day{Files: 1000, Bytes: int64(1000 * (n + 1)), ChangedFiles: int64(min(n, 1)) * 500, ChangedBytes: int64(min(n, 1)) * 1000}
	})
	ctx := context.Background()
	*now = now.Add(48 * time.Hour)
	d, err := fs.Open(ctx, "/data")
	if err != nil {
		t.Fatal(err)
	}
	names, _ := d.Names(ctx)
	*now = now.Add(20 * 24 * time.Hour)
	if later, _ := since(t, fs, 0); later.Bytes != 23_000 {
		t.Errorf("twenty days later there are %+v", later)
	}
	sum := int64(0)
	for _, n := range names {
		i, err := d.Lstat(ctx, n)
		if err != nil {
			t.Fatalf("%s has vanished from an open directory: %v", n, err)
		}
		sum += i.Size
	}
	if sum != 3000 {
		t.Errorf("the open directory holds %d bytes, want 3000", sum)
	}
}

func TestPickAndSet(t *testing.T) {
	fs, _ := livingFS(t, func(int) Day { return Day{Files: 1000, Bytes: 1 << 40} })
	ctx := context.Background()
	if paths, err := fs.Pick(ctx, "/data", 1<<40); err != nil || len(paths) != 1 || paths[0] != "/data" {
		t.Errorf("all that there is: %v, %v", paths, err)
	}
	if _, err := fs.Pick(ctx, "/", 1); err == nil {
		t.Error("picked of a directory that is no living tree")
	}
	for _, want := range []int64{0, 1 << 38, 1 << 39, 1<<40 - 1} {
		paths, err := fs.Pick(ctx, "/data", want)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%v, %v", paths, err)
		}
		sum := int64(0)
		d, _ := fs.Open(ctx, "/data")
		for _, p := range paths {
			i, err := d.Lstat(ctx, p[len("/data/"):])
			if err != nil {
				t.Fatal(err)
			}
			sum += i.Size
		}
		if want > 1<<37 && (sum > want || sum < want*7/10) {
			t.Errorf("picked %d bytes of %d", sum, want)
		}
	}
	for _, h := range []Hollow{{5, 500}, {1, 0}, {7_000_000, 1 << 42}} {
		if err := fs.SetHollow(ctx, "/data", h, rand.New(rand.NewPCG(1, 2))); err != nil {
			t.Fatal(err)
		}
		if got, _ := since(t, fs, 0); got != h {
			t.Errorf("set %+v, got %+v", h, got)
		}
	}
	fs.RemoveAll(ctx, "/data")
	if _, err := fs.Open(ctx, "/data"); err == nil {
		t.Error("it is still there")
	}
	fs.RemoveAll(ctx, "/data")
}
