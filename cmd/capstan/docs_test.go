package main

import (
	stdflag "flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

//go:generate go test -run ^TestCommandsAreDocumented$ -count=1 . -update

var update = stdflag.Bool("update", false, "write docs/commands.md anew")

const commandsFile = "../../docs/commands.md"

const preface = `# Commands

Every command of the one binary, as its help has it. This file is generated: change
the command and run "go generate ./cmd/capstan".

Data goes to standard output, everything else to standard error. Colours are used on
a terminal only, and never if NO_COLOR is set. "capstan completion bash" (or zsh, fish,
powershell) writes a script that completes commands, flags, and the names of policies,
clients, jobs and images.
`

// visible calls fn for each command that help shows.
func visible(cmd *cobra.Command, fn func(*cobra.Command)) {
	fn(cmd)
	for _, sub := range cmd.Commands() {
		if !sub.Hidden && sub.Name() != "help" && sub.Name() != "completion" {
			visible(sub, fn)
		}
	}
}

func tree() *cobra.Command { return newRoot(func() {}) }

// document writes the section of one command.
func document(b *strings.Builder, cmd *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n", cmd.CommandPath())
	if !strings.HasPrefix(cmd.Long, cmd.Short) {
		fmt.Fprintf(b, "\n%s.\n", cmd.Short)
	}
	fmt.Fprintf(b, "\n%s\n", strings.TrimSpace(cmd.Long))
	if cmd.Runnable() {
		fmt.Fprintf(b, "\n```\n%s\n```\n", cmd.UseLine())
	}
	if flags := cmd.NonInheritedFlags(); flags.HasAvailableFlags() {
		fmt.Fprintf(b, "\n```\n%s```\n", flags.FlagUsages())
	}
	if cmd.Example != "" {
		fmt.Fprintf(b, "\nExample:\n\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimSpace(cmd.Example), "\n  ", "\n"))
	}
}

func TestCommandsAreDocumented(t *testing.T) {
	var b strings.Builder
	b.WriteString(preface)
	visible(tree(), func(cmd *cobra.Command) { document(&b, cmd) })
	if *update {
		if err := os.WriteFile(commandsFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(commandsFile)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(written), b.String()); d != "" {
		t.Errorf("docs/commands.md is not what the commands say: run go generate ./cmd/capstan (-file +commands)\n%s", d)
	}
}

// Whoever asks a command for help finds what it does and an example of it that
// can be typed as it stands.
func TestEveryCommandHasHelp(t *testing.T) {
	visible(tree(), func(cmd *cobra.Command) {
		if cmd.Short == "" || cmd.Long == "" {
			t.Errorf("%s: no short or no long help", cmd.CommandPath())
		}
		if !strings.Contains(cmd.Example, "capstan ") {
			t.Errorf("%s: no example", cmd.CommandPath())
		}
		if cmd.Runnable() && cmd.HasParent() && !strings.Contains(cmd.Long, "Exit codes:") {
			t.Errorf("%s: help does not say the exit codes", cmd.CommandPath())
		}
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			checkExample(t, cmd, line)
		}
	})
}

// checkExample parses an example's call of capstan as the command line would.
func checkExample(t *testing.T, cmd *cobra.Command, line string) {
	t.Helper()
	for part := range strings.SplitSeq(line, "|") {
		words := shellWords(part)
		if len(words) == 0 || words[0] != "capstan" {
			continue
		}
		found, rest, err := tree().Find(words[1:])
		if err == nil {
			err = found.ParseFlags(rest)
		}
		if err == nil {
			err = found.ValidateArgs(found.Flags().Args())
		}
		if err != nil {
			t.Errorf("example of %s: %s: %v", cmd.CommandPath(), strings.TrimSpace(line), err)
		}
	}
}

// shellWords splits a simple command, without what it redirects.
func shellWords(line string) (words []string) {
	line, _, _ = strings.Cut(line, " > ")
	for i, quoted := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, quoted)
			continue
		}
		words = append(words, strings.Fields(quoted)...)
	}
	return words
}

// Lists can be read by programs, too.
func TestListsHaveJSON(t *testing.T) {
	for _, path := range []string{
		"policy list", "policy show", "backup", "restore", "images", "list", "jobs", "jobs show", "jobs log", "jobs why",
		"trace", "media list", "drives", "sim run", "version",
	} {
		cmd, _, err := tree().Find(strings.Fields(path))
		if err != nil || cmd.CommandPath() != "capstan "+path {
			t.Errorf("%s: found %s, %v", path, cmd.CommandPath(), err)
		} else if cmd.Flags().Lookup("json") == nil {
			t.Errorf("%s has no --json", path)
		}
	}
}
