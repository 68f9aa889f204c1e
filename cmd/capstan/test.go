package main

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan/internal/expect"
	"capstan/internal/rehearsal"
	"capstan/internal/virtual"
	"capstan/reports"
	"capstan/scenarios"
)

func init() { commands = append(commands, newTestCommand) }

// testFlags are the flags of test.
type testFlags struct {
	world string
	// timing is how many times faster than the hardware the library is, where the clock
	// on the wall counts.
	timing int64
	seed   int64
	junit  string
	only   string
}

func newTestCommand() *cobra.Command {
	var f testFlags
	cmd := &cobra.Command{
		Use:   "test FILE...",
		Short: "Run scenarios, and check what they expect",
		Long: `Run scenarios, each from its start to its end, and compare what came out with what
its file expects (docs/configuration.md, Expect). A line says of each how it went;
what was expected and did not come follows, with its place in the file.

In the virtual world every scenario runs as it is written. In the real world a
scenario runs as a domain of processes on this machine, with virtual tape: its
files are generated, scaled down to at most 64 MiB together; its policies' backups
are started at once, and started again after its faults; and bounds in time are
not checked. A scenario that this cannot represent is skipped, and said to be.

With both it is played so in the real world and then in virtual time, with files of
the same sizes and a library as fast, and compared job by job: the same statuses, the
same steps in the same order, and times within 5 % and a second. The difference is
the model's error.

Exit codes: 0 all is as expected, 1 it is not, 2 wrong usage or a mistake in a file:
then nothing was run.`,
		Example: "  capstan test scenarios/first-night.yaml scenarios/busy-night.yaml\n" +
			"  capstan test scenarios/first-night.yaml --world real --junit result.xml\n" +
			"  capstan test scenarios/both-worlds.yaml --world both --timing 1",
		Args: usage(cobra.MinimumNArgs(1)),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	s := cmd.Flags()
	s.StringVar(&f.world, "world", "virtual", "virtual, real or both")
	s.Int64Var(&f.timing, "timing", rehearsal.Timing, "with both: how many times faster than the hardware the library is, in both worlds")
	s.Int64Var(&f.seed, "seed", 0, "of all random numbers, instead of the scenarios' own")
	s.StringVar(&f.junit, "junit", "", "write the results to this file too, as JUnit XML")
	s.StringVar(&f.only, "run", "*", "run the scenarios whose name matches this pattern only")
	completeFlag(cmd, "world", words("virtual", "real", "both"))
	return cmd
}

// tested is one scenario, and how it went.
type tested struct {
	file     string
	scenario *scenarios.Scenario
	places   scenarios.Places

	took     time.Duration
	failures []expect.Failure
	err      error  // it could not be run to its end
	skipped  string // why it was not run
	note     string // what else is to be said
	table    string // of both worlds' jobs
}

func (t *tested) passed() bool { return t.err == nil && len(t.failures) == 0 }

func (f *testFlags) run(cmd *cobra.Command, files []string) error {
	if f.world != "virtual" && f.world != "real" && f.world != "both" {
		return wrong("--world %s: expected virtual, real or both", f.world)
	}
	if _, err := path.Match(f.only, ""); err != nil {
		return wrong("--run %s: %w", f.only, err)
	}
	tests, err := f.read(files)
	if err != nil {
		return err
	}
	bad := 0
	for _, t := range tests {
		begin := time.Now()
		f.one(cmd, t)
		t.took = time.Since(begin)
		if !t.passed() {
			bad++
		}
		writeTested(cmd.OutOrStdout(), t)
		if cmd.Context().Err() != nil {
			return context.Cause(cmd.Context())
		}
	}
	if f.junit != "" {
		if err := writeJUnit(f.junit, f.world, tests); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d scenarios did not come out as expected", bad, len(tests))
	}
	return nil
}

// read reads all files before any is run, and reports the mistakes of all.
func (f *testFlags) read(files []string) (tests []*tested, err error) {
	var mistakes scenarios.Mistakes
	for _, file := range files {
		s, places, err := scenarios.ReadPlaced[scenarios.Scenario](file)
		var m scenarios.Mistakes
		switch {
		case errors.As(err, &m):
			mistakes = append(mistakes, m...)
		case err != nil:
			return nil, wrong("%w", err)
		default:
			if ok, _ := path.Match(f.only, s.Name); ok { // the pattern is well formed
				tests = append(tests, &tested{file: file, scenario: s, places: places})
			}
		}
	}
	if len(mistakes) > 0 {
		return nil, mistaken(mistakes)
	}
	if len(tests) == 0 {
		return nil, wrong("--run %s: no scenario has such a name", f.only)
	}
	return tests, nil
}

// one runs a scenario.
func (f *testFlags) one(cmd *cobra.Command, t *tested) {
	switch f.world {
	case "real":
		t.real(cmd.Context())
		return
	case "both":
		t.both(cmd.Context(), f.timing)
		return
	}
	o := virtual.Options{Seed: f.seed, SeedSet: cmd.Flags().Changed("seed"), Places: t.places}
	r, err := virtual.Run(t.scenario, o)
	if err != nil {
		t.err = err
		return
	}
	t.failures = r.Failed
	t.note = fmt.Sprintf("%s of virtual time, %d jobs, seed %d", reports.Duration(r.Virtual), len(r.Jobs), r.Seed)
}

// writeTested says how a scenario went.
func writeTested(w io.Writer, t *tested) {
	word := "ok"
	switch {
	case !t.passed():
		word = "FAIL"
	case t.skipped != "":
		word = "skip"
	}
	fmt.Fprintf(w, "%-4s  %-22s %6.2f s", word, t.scenario.Name, t.took.Seconds())
	switch {
	case t.skipped != "":
		fmt.Fprintf(w, "  %s", t.skipped)
	case t.table != "":
		fmt.Fprintf(w, "  %s", t.note)
	case t.err == nil && len(t.scenario.Expect) == 0:
		fmt.Fprintf(w, "  expects nothing (%s)", t.note)
	case t.err == nil:
		fmt.Fprintf(w, "  %d of %d expectations hold (%s)", len(t.scenario.Expect)-len(t.failures), len(t.scenario.Expect), t.note)
	}
	fmt.Fprintln(w)
	if t.table != "" {
		fmt.Fprintf(w, "      %s\n", strings.ReplaceAll(t.table, "\n", "\n      "))
	}
	for _, text := range t.texts() {
		fmt.Fprintf(w, "      %s\n", strings.ReplaceAll(text, "\n", "\n      "))
	}
}

// texts are what went wrong.
func (t *tested) texts() (texts []string) {
	if t.err != nil {
		texts = append(texts, t.err.Error())
	}
	for _, failure := range t.failures {
		texts = append(texts, failure.String())
	}
	return texts
}

// The elements of JUnit XML that continuous integration systems read
// (https://github.com/testmoapp/junitxml): a suite, its cases, and of each what
// failed.
type (
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"` // seconds
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string     `xml:"name,attr"`
		Class   string     `xml:"classname,attr"`
		File    string     `xml:"file,attr"`
		Time    string     `xml:"time,attr"`
		Failure *junitText `xml:"failure"`
		Error   *junitText `xml:"error"`
		Skipped *junitText `xml:"skipped"`
	}
	junitText struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes the results for programs.
func writeJUnit(name, world string, tests []*tested) error {
	suite := junitSuite{Name: "capstan test, " + world + " world", Tests: len(tests)}
	total := time.Duration(0)
	for _, t := range tests {
		c := junitCase{Name: t.scenario.Name, Class: "scenarios." + world, File: t.file, Time: fmt.Sprintf("%.3f", t.took.Seconds())}
		total += t.took
		text := strings.Join(t.texts(), "\n\n")
		switch {
		case t.err != nil:
			suite.Errors++
			c.Error = &junitText{Message: "the scenario could not be run to its end", Text: text}
		case len(t.failures) > 0:
			suite.Failures++
			c.Failure = &junitText{Message: fmt.Sprintf("%d of %d expectations do not hold", len(t.failures), len(t.scenario.Expect)), Text: text}
		case t.skipped != "":
			suite.Skipped++
			c.Skipped = &junitText{Message: t.skipped}
		}
		suite.Cases = append(suite.Cases, c)
	}
	suite.Time = fmt.Sprintf("%.3f", total.Seconds())
	b, err := xml.MarshalIndent(suite, "", "  ")
	if err == nil {
		err = os.WriteFile(name, append([]byte(xml.Header), append(b, '\n')...), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	return nil
}
