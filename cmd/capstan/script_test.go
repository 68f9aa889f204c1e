package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run the program as the command capstan: main itself, in
// a process of this test binary.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"capstan": main})
}

// TestScripts runs the scripts of testdata/script: what a person types, and what
// it prints. They need no domain.
func TestScripts(t *testing.T) {
	p := params("testdata/script")
	p.Setup = func(env *testscript.Env) error {
		scenarios, err := filepath.Abs("../../scenarios")
		quick(env)
		env.Setenv("SCENARIOS", scenarios)
		env.Setenv("CAPSTAN_CONFIG", filepath.Join(env.WorkDir, "none.yaml"))
		env.Setenv("TZ", "UTC")
		return err
	}
	testscript.Run(t, p)
}

// TestLiveScripts runs the scripts of testdata/live, each on a domain of its own.
func TestLiveScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("runs daemons")
	}
	p := params("testdata/live")
	p.Setup = func(env *testscript.Env) error {
		// Sockets have short names: below the work directory they would be too long.
		dir, err := os.MkdirTemp("", "capstan")
		if err != nil {
			return err
		}
		env.Defer(func() { os.RemoveAll(dir) })
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		quick(env)
		env.Setenv("ADDRESS", l.Addr().String())
		env.Setenv("CONFIG", dir)
		// When a window of an hour opens that is shut while the script runs,
		// whatever the time is: nothing is backed up but by hand.
		env.Setenv("WINDOW", time.Now().UTC().Add(12*time.Hour).Format("15:04"))
		env.Setenv("CAPSTAN_CONFIG", filepath.Join(dir, "host.yaml"))
		env.Setenv("TZ", "UTC")
		return nil
	}
	testscript.Run(t, p)
}

// quick keeps programs built with the race detector from resting for a second
// before each exit.
func quick(env *testscript.Env) { env.Setenv("GORACE", "atexit_sleep_ms=0") }

func params(dir string) testscript.Params {
	return testscript.Params{
		Dir: dir, RequireExplicitExec: true, UpdateScripts: *update,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "answers": answers, "expand": expand},
	}
}

// exits runs a command that must exit with a code: exits CODE COMMAND…
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	if code := exitStatus(ts, args[1:]); args[0] != strconv.Itoa(code) {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

func exitStatus(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		ts.Fatalf("%v", err)
	}
	return exit.ExitCode()
}

// answers repeats a command until it succeeds: answers COMMAND…
func answers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: answers COMMAND…")
	}
	for tries := 0; exitStatus(ts, args) != 0; tries++ {
		if tries == 300 {
			ts.Fatalf("%v does not succeed", args)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// expand replaces $NAME in files by the environment's value: expand FILE…
func expand(ts *testscript.TestScript, _ bool, files []string) {
	for _, f := range files {
		text := os.Expand(ts.ReadFile(f), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(f), []byte(text), 0o644))
	}
}
