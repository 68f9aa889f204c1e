package main

import (
	"path/filepath"
	"testing"

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
	scenarios, err := filepath.Abs("../../scenarios")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("SCENARIOS", scenarios)
			env.Setenv("CAPSTAN_CONFIG", filepath.Join(env.WorkDir, "none.yaml"))
			env.Setenv("TZ", "UTC")
			return nil
		},
	})
}
