package stage_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/catalog"
	"capstan/core/image"
	"capstan/core/rt"
	"capstan/core/stage"
	"capstan/sim/simtest"
)

// fetched records the jobs, each of which takes a minute.
type fetched struct {
	jobs  []string
	err   error
	early map[string]bool // what comes an hour before the job's end
}

func (f *fetched) fetch(ctx context.Context, b stage.Batch, came func(stage.File)) error {
	var paths []string
	for _, x := range b.Files {
		paths = append(paths, x.Path)
	}
	f.jobs = append(f.jobs, fmt.Sprintf("%v %s: %s", rt.Mono(ctx), strings.Join(b.Media, "+"), strings.Join(paths, " ")))
	if err := rt.Sleep(ctx, time.Minute); err != nil {
		return err
	}
	for _, x := range b.Files {
		if f.early[x.Path] {
			came(x)
		}
	}
	if len(f.early) > 0 {
		_ = rt.Sleep(ctx, time.Hour)
	}
	return f.err
}

func on(media string, block int64, path string) stage.File {
	return stage.File{Image: "c_1", Client: "c", Path: path, Place: stage.Place{Media: media, Block: block}}
}

// wait wants a file in a task of its own.
func wait(ctx context.Context, s *stage.Stager, f stage.File, user string, ended *int) {
	rt.Go(ctx, "open "+f.Path, func(ctx context.Context) {
		if s.Want(ctx, f, user) == nil {
			*ended++
		}
	})
}

// waitAll wants a list in a task of its own.
func waitAll(ctx context.Context, s *stage.Stager, list []stage.File, user string, ended *int) {
	rt.Go(ctx, "list", func(ctx context.Context) {
		if s.WantAll(ctx, list, user) == nil {
			*ended++
		}
	})
}

func TestGathered(t *testing.T) {
	tests := []struct {
		rule  string
		rules stage.Rules
		do    func(ctx context.Context, s *stage.Stager, ended *int)
		want  []string
		ended int
	}{
		{"who opens at the same time has one mount, read in the tape's order", stage.Rules{}, func(ctx context.Context, s *stage.Stager, n *int) {
			wait(ctx, s, on("A", 30, "/c"), "u", n)
			wait(ctx, s, on("A", 10, "/a"), "u", n)
			_ = rt.Sleep(ctx, time.Second)
			wait(ctx, s, on("A", 20, "/b"), "v", n)
		}, []string{"3s A: /a /b /c"}, 3},
		{"one who comes again and again does not keep the first waiting for long", stage.Rules{}, func(ctx context.Context, s *stage.Stager, n *int) {
			for i := range 12 {
				wait(ctx, s, on("A", int64(i), fmt.Sprint("/", i)), "u", n)
				_ = rt.Sleep(ctx, time.Second)
			}
		}, []string{"10s A: /0 /1 /2 /3 /4 /5 /6 /7 /8 /9 /10", "1m10s A: /11"}, 12},
		{"very many wait for nothing", stage.Rules{Many: 2}, func(ctx context.Context, s *stage.Stager, n *int) {
			wait(ctx, s, on("A", 1, "/a"), "u", n)
			wait(ctx, s, on("A", 2, "/b"), "u", n)
		}, []string{"0s A: /a /b"}, 2},
		{"disks wait for nothing", stage.Rules{}, func(ctx context.Context, s *stage.Stager, n *int) { wait(ctx, s, on("", 1, "/a"), "u", n) }, []string{"0s : /a"}, 1},
		{"what is only likely to be wanted costs no mount, and comes with what is", stage.Rules{}, func(ctx context.Context, s *stage.Stager, n *int) {
			s.Ahead(ctx, []stage.File{on("A", 9, "/x"), on("B", 1, "/y"), on("A", 1, "/w")}, "u")
			_ = rt.Sleep(ctx, time.Minute)
			wait(ctx, s, on("A", 5, "/a"), "u", n)
		}, []string{"1m2s A: /w /a /x"}, 1},
		{"as many jobs as may be, the next when one has ended", stage.Rules{Jobs: 2}, func(ctx context.Context, s *stage.Stager, n *int) {
			for _, m := range []string{"A", "B", "C"} {
				wait(ctx, s, on(m, 1, "/"+m), "u", n)
			}
		}, []string{"2s A: /A", "2s B: /B", "1m2s C: /C"}, 3},
		{"a bounded job has a file of each user", stage.Rules{Files: 2}, func(ctx context.Context, s *stage.Stager, n *int) {
			for i := range 3 {
				wait(ctx, s, on("A", int64(i), fmt.Sprint("/u", i)), "u", n)
			}
			wait(ctx, s, on("A", 9, "/v"), "v", n)
		}, []string{"2s A: /u0 /v", "1m2s A: /u1 /u2"}, 4},
		{"a file that lies on two cartridges joins them: each is mounted once", stage.Rules{}, func(ctx context.Context, s *stage.Stager, n *int) {
			s.Ahead(ctx, []stage.File{{Image: "c_1", Client: "c", Path: "/ab", Place: stage.Place{Media: "A", Block: 9, More: []string{"B"}}}, on("A", 1, "/a"), on("C", 1, "/c")}, "u")
			wait(ctx, s, on("B", 5, "/b"), "u", n)
		}, []string{"2s A+B: /a /ab /b"}, 1},
		{"who gives up is not fetched for, unless another waits", stage.Rules{}, func(ctx context.Context, s *stage.Stager, n *int) {
			gctx, cancel := rt.WithCancel(ctx)
			wait(gctx, s, on("A", 1, "/a"), "u", n)
			wait(gctx, s, on("A", 2, "/b"), "u", n)
			wait(ctx, s, on("A", 2, "/b"), "v", n)
			_ = rt.Sleep(ctx, time.Second)
			cancel(errors.New("Ctrl-C"))
		}, []string{"2s A: /b"}, 1},
		{"a list is one job for each cartridge, and as many at a time as may be", stage.Rules{Files: 2, Jobs: 1}, func(ctx context.Context, s *stage.Stager, n *int) {
			waitAll(ctx, s, []stage.File{on("A", 3, "/c"), on("B", 1, "/d"), on("A", 1, "/a"), on("A", 2, "/b")}, "u", n)
			wait(ctx, s, on("C", 1, "/e"), "v", n)
		}, []string{"2s A: /a /b /c", "1m2s B: /d", "2m2s C: /e"}, 2},
		{"lists and opens of one file fetch it once", stage.Rules{}, func(ctx context.Context, s *stage.Stager, n *int) {
			for _, u := range []string{"u", "v"} {
				waitAll(ctx, s, []stage.File{on("A", 1, "/a"), on("A", 2, "/b"), on("A", 2, "/b")}, u, n)
			}
			_ = rt.Sleep(ctx, 10*time.Second)
			wait(ctx, s, on("A", 2, "/b"), "w", n)
		}, []string{"2s A: /a /b"}, 3},
		{"who opens a file does not wait for a long list", stage.Rules{Files: 2}, func(ctx context.Context, s *stage.Stager, n *int) {
			waitAll(ctx, s, []stage.File{on("A", 1, "/1"), on("A", 2, "/2"), on("A", 3, "/3"), on("A", 4, "/4")}, "u", n)
			wait(ctx, s, on("A", 4, "/4"), "v", n)
		}, []string{"2s A: /1 /4", "1m2s A: /2 /3"}, 2},
		{"a list that is given up is not fetched, but for what others want of it", stage.Rules{Jobs: 1}, func(ctx context.Context, s *stage.Stager, n *int) {
			gctx, cancel := rt.WithCancel(ctx)
			waitAll(gctx, s, []stage.File{on("A", 1, "/a"), on("A", 2, "/b"), on("B", 1, "/c")}, "u", n)
			waitAll(ctx, s, []stage.File{on("A", 2, "/b")}, "v", n)
			_ = rt.Sleep(ctx, 10*time.Second)
			cancel(errors.New("Ctrl-C"))
		}, []string{"2s A: /a /b"}, 1},
		{"jobs of another kind have their turn among those that may run", stage.Rules{Jobs: 1}, func(ctx context.Context, s *stage.Stager, n *int) {
			wait(ctx, s, on("A", 1, "/a"), "u", n)
			_ = rt.Sleep(ctx, time.Second)
			gctx, cancel := rt.WithCancel(ctx)
			for i := range 3 {
				tctx := ctx
				if i == 1 {
					tctx = gctx
				}
				rt.Go(tctx, "do", func(ctx context.Context) {
					if s.Do(ctx, func(ctx context.Context) error { return rt.Sleep(ctx, time.Minute) }) == nil {
						*n++
					}
				})
			}
			_ = rt.Sleep(ctx, 10*time.Second)
			cancel(errors.New("Ctrl-C"))
			wait(ctx, s, on("B", 1, "/b"), "u", n)
			wait(ctx, s, on("", 1, "/c"), "u", n)
		}, []string{"1m1s A: /a", "3m1s : /c", "4m1s B: /b"}, 5},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			simtest.Run(t, func(ctx context.Context) {
				f, ended := &fetched{}, 0
				s := stage.New(ctx, tt.rules, f.fetch)
				tt.do(ctx, s, &ended)
				_ = rt.Sleep(ctx, time.Hour)
				if d := cmp.Diff(tt.want, f.jobs); d != "" || ended != tt.ended {
					t.Errorf("%d waits ended; jobs (-want +got):\n%s", ended, d)
				}
				if n, jobs := s.Waiting(); n != 0 || jobs != 0 {
					t.Errorf("%d files and %d jobs are left", n, jobs)
				}
			})
		})
	}
}

// TestFailed: all who wait for a job that fails are told.
func TestFailed(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		f := &fetched{err: errors.New("status 96")}
		s := stage.New(ctx, stage.Rules{}, f.fetch)
		if err := s.Want(ctx, on("A", 1, "/a"), "u"); !errors.Is(err, f.err) {
			t.Error(err)
		}
		f.err = nil
		if err := s.Want(ctx, on("A", 1, "/a"), "u"); err != nil {
			t.Errorf("and then: %v", err)
		}
	})
}

// TestEarly: who waits for what has come goes on, though the job does, too, and fails for
// others. Who wants it anew meanwhile gets it from the next.
func TestEarly(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		f := &fetched{err: errors.New("status 96"), early: map[string]bool{"/a": true}}
		s := stage.New(ctx, stage.Rules{}, f.fetch)
		ended := 0
		wait(ctx, s, on("A", 2, "/b"), "u", &ended)
		if err := s.Want(ctx, on("A", 1, "/a"), "u"); err != nil || rt.Mono(ctx) != 62*time.Second {
			t.Errorf("%v, after %v", err, rt.Mono(ctx))
		}
		wait(ctx, s, on("A", 1, "/a"), "u", &ended)
		_ = rt.Sleep(ctx, 3*time.Hour)
		want := []string{"2s A: /a /b", "1h1m2s A: /a"}
		if d := cmp.Diff(want, f.jobs); d != "" || ended != 1 {
			t.Errorf("%d waits ended well; jobs (-want +got):\n%s", ended, d)
		}
	})
}

// TestListFailed: a list is told of each job that failed, once.
func TestListFailed(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		f := &fetched{err: errors.New("status 96")}
		s := stage.New(ctx, stage.Rules{}, f.fetch)
		err := s.WantAll(ctx, []stage.File{on("A", 1, "/a"), on("A", 2, "/b"), on("B", 1, "/c")}, "u")
		if !errors.Is(err, f.err) || err.Error() != "status 96\nstatus 96" {
			t.Error(err)
		}
	})
}

// TestFull: one user waits for a bounded number of files, all for four times as many, and
// who leaves makes room.
func TestFull(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		s := stage.New(ctx, stage.Rules{Waits: 2}, (&fetched{}).fetch)
		var leave []func()
		for _, c := range []struct {
			user string
			want error
		}{
			{"u", nil}, {"u", nil}, {"u", stage.ErrFull}, {"v", nil}, {"v", nil}, {"w", nil}, {"w", nil}, {"x", nil}, {"x", nil}, {"x", stage.ErrFull},
			{"y", stage.ErrFull},
		} {
			l, err := s.Enter(c.user)
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.user, err, c.want)
			}
			if err == nil {
				leave = append(leave, l)
			}
		}
		for _, l := range leave {
			l()
		}
		if _, err := s.Enter("u"); err != nil {
			t.Errorf("when all have left: %v", err)
		}
	})
}

// TestLikely: what is only likely to be wanted is bounded, and what is wanted, fetched or
// forgotten counts no more.
func TestLikely(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		f := &fetched{}
		s := stage.New(ctx, stage.Rules{Likely: 2}, f.fetch)
		list := func(from int) (files []stage.File) {
			for i := range 3 {
				files = append(files, on("A", int64(from+i), fmt.Sprint("/", from+i)))
			}
			return files
		}
		fetchOne := func(block int64) {
			t.Helper()
			if err := s.Want(ctx, on("A", block, fmt.Sprint("/", block)), "u"); err != nil {
				t.Error(err)
			}
		}
		s.Ahead(ctx, list(0), "u")
		if !s.Wanted(list(0)[1]) || s.Wanted(list(0)[2]) {
			t.Error("what is wanted is not what was said to be likely, and not too much")
		}
		fetchOne(1) // and 0
		s.Ahead(ctx, list(3), "u")
		_ = rt.Sleep(ctx, 11*time.Minute)
		fetchOne(9) // 3 and 4 are forgotten
		s.Ahead(ctx, list(6), "u")
		fetchOne(9)
		want := []string{"2s A: /0 /1", "12m4s A: /9", "13m6s A: /6 /7 /9"}
		if d := cmp.Diff(want, f.jobs); d != "" {
			t.Errorf("jobs (-want +got):\n%s", d)
		}
	})
}

func TestPlaceOf(t *testing.T) {
	h := &image.Header{Fragments: []image.Fragment{
		{Copy: 1, Number: 1, Media: "A", Block: 3, BlockSize: 1000, Offset: 0, Length: 5000},
		{Copy: 1, Number: 2, Media: "B", Block: 1, BlockSize: 1000, Offset: 5000, Length: 5000},
		{Copy: 2, Number: 1, Media: "C", Block: 3, BlockSize: 1000, Offset: 0, Length: 10000},
	}}
	for _, c := range []struct {
		offset, length int64
		want           stage.Place
	}{
		{0, 10, stage.Place{Media: "A", Block: 3}},
		{2500, 10, stage.Place{Media: "A", Block: 5}},
		{4000, 3000, stage.Place{Media: "A", Block: 7, More: []string{"B"}}},
		{5000, 10, stage.Place{Media: "B", Block: 1}},
		{9999, 1, stage.Place{Media: "B", Block: 5}},
		{10000, 10, stage.Place{}},
	} {
		if d := cmp.Diff(c.want, stage.PlaceOf(h, &catalog.Entry{Offset: c.offset, DataLen: c.length})); d != "" {
			t.Errorf("offset %d: %s", c.offset, d)
		}
	}
}

func TestLooks(t *testing.T) {
	simtest.Run(t, func(ctx context.Context) {
		k := stage.NewLooks(rt.NewLock(ctx))
		for _, dir := range []string{"/d", "/d/e", "/d/e/f", "/x"} {
			k.Listed(0, "cp 7", "t", dir)
		}
		for _, c := range []struct {
			at                        time.Duration
			process, user, tree, file string
			want                      string
		}{
			{time.Second, "cp 7", "u", "t", "/d/e/f/1", "/d"}, // it copies /d
			{time.Second, "cp 7", "u", "t", "/x/1", "/x"},
			{time.Second, "cp 7", "v", "other", "/x/1", ""},
			{time.Second, "cat 8", "v", "t", "/d/e/1", ""},         // one file
			{2 * time.Second, "cat 9", "v", "t", "/d/e/2", "/d/e"}, // and another
			{time.Hour, "cp 7", "u", "t", "/d/e/f/2", ""},
			{time.Hour, "cat 9", "v", "t", "/d/e/3", ""},
		} {
			if got, _ := k.Opened(c.at, c.process, c.user, c.tree, c.file); got != c.want {
				t.Errorf("%+v: %q", c, got)
			}
		}
	})
}
