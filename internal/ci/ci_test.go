// Package ci holds the scripts that the Makefile and .ci/run call, and tests
// that they fail when they should.
package ci

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func script(t *testing.T, name string, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// A stand-in for capstan writes the trace that each case wants; $5 is the seed
// and $7 the trace's file.
func TestDeterminism(t *testing.T) {
	for name, c := range map[string]struct {
		capstan string
		says    string // "" if it succeeds
	}{
		"the same twice":       {`{ echo header; echo "seed $5"; } >"$7"`, ""},
		"seed without effect":  {`{ echo "seed $5"; echo body; } >"$7"`, "another seed gives the same trace"},
		"processors differ":    {`{ echo header; echo "$5 $GOMAXPROCS"; } >"$7"`, "two runs with one seed differ"},
		"no trace":             {`: >"$7"`, "is empty"},
		"a run that fails":     {`exit 3`, "exit status 3"},
		"runs without a trace": {`true`, "is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command("./determinism.sh", script(t, "capstan", "#!/bin/bash\n"+c.capstan+"\n"), "scenario").CombinedOutput()
			said := string(out)
			if err != nil {
				said += err.Error()
			}
			if (err == nil) != (c.says == "") || !strings.Contains(said, c.says) {
				t.Errorf("it says %q (%v); want %q", out, err, c.says)
			}
		})
	}
}

func TestSkips(t *testing.T) {
	for output, refused := range map[string]bool{
		"--- PASS: TestA (0.00s)\nok  \tcapstan\t1s\n":                         false,
		"--- SKIP: TestA (0.00s)\nok  \tcapstan\t1s\n":                         true,
		"=== RUN TestA\n    --- SKIP: TestA/case (0.00s)\nok  \tcapstan\t1s\n": true,
	} {
		out, err := exec.Command("./skips.sh", script(t, "log", output)).CombinedOutput()
		if (err != nil) != refused || refused != strings.Contains(string(out), "TestA") {
			t.Errorf("skips.sh of %q: %v, %s", output, err, out)
		}
	}
}
