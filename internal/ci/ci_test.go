// Package ci holds the scripts that the Makefile and .ci/run call, and tests
// that they fail when they should.
package ci

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// A stand-in for go prints what the fuzzing of one function ended with. Of all
// failures, only the coordinator's own at the end of its time is none.
func TestFuzz(t *testing.T) {
	const ended = "--- FAIL: FuzzA (3.06s)\n    context deadline exceeded\nFAIL\nexit status 1\nFAIL\tcapstan/a\t3.074s\n"
	for name, c := range map[string]struct {
		output string
		status int
		fails  bool
	}{
		"passes":              {"PASS\nok  \tcapstan/a\t3.0s\n", 0, false},
		"the end of its time": {"fuzz: elapsed: 3s, execs: 9 (0/sec)\n" + ended, 1, false},
		"a failing input":     {"--- FAIL: FuzzA (3.06s)\n    a_test.go:9: context deadline exceeded\n    Failing input written to testdata/fuzz/FuzzA/1\nFAIL\n", 1, true},
		"another's deadline":  {"--- FAIL: FuzzB (3.06s)\n    context deadline exceeded\nFAIL\nexit status 1\nFAIL\tcapstan/a\t3.074s\n", 1, true},
		"something besides":   {"panic: a\n" + ended, 1, true},
		"does not build":      {"a.go:1:1: expected 'package'\n", 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{
				"go":          "#!/bin/bash\n[ \"$1\" = list ] && { echo capstan/a; exit; }\ncat <<'END'\n" + c.output + "END\nexit " + strconv.Itoa(c.status) + "\n",
				"git":         "#!/bin/bash\necho a/a_test.go\n",
				"a/a_test.go": "func FuzzA(f *testing.F) {\n",
			} {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			here, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(filepath.Join(here, "fuzz.sh"), "3s")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if (err != nil) != c.fails {
				t.Errorf("fuzz.sh: %v, %s", err, out)
			}
			if c.fails && !strings.Contains(string(out), strings.TrimSpace(c.output)) {
				t.Errorf("it hides what go printed: %s", out)
			}
		})
	}
}
