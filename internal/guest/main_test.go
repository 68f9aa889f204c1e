//go:build devices

package guest_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"capstan/internal/guest"
)

// envBinary tells the guest where the capstan binary is, envLibrary which library
// it is about.
const (
	envBinary  = "CAPSTAN_BINARY"
	envLibrary = "CAPSTAN_LIBRARY"
	envSize    = "CAPSTAN_CARTRIDGE"    // MiB that fit on one
	envKernel  = "CAPSTAN_GUEST_KERNEL" // on the host: the directory of the guest's kernel
)

var only = flag.String("only", "", "on the host: run only these boots, by a part of their name")

// TestMain is both sides: see package guest. On the host it boots guests, one
// after another, and prints a table of what passed in them.
func TestMain(m *testing.M) {
	if guest.Inside() {
		guest.Init()
	}
	flag.Parse()
	if os.Getenv(envLibrary) != "" {
		os.Exit(m.Run())
	}
	if err := onHost(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "devices:", err)
		os.Exit(1)
	}
}

// boots are the guests. Those with the same directory find the media as the one
// before left them. Bacula's test needs cartridges that hold 1.3 GB; the flow fills
// small ones.
var boots = []struct{ name, library, dir, size, tests string }{
	{"Capstan's library: the kernel's tools", "capstan", "a", "2048", "^TestLibrary"},
	{"Capstan's library: Capstan on it", "capstan", "b", "64", "^TestCapstan"},
	{"Capstan's library: after a reboot", "capstan", "b", "64", "^TestReboot"},
	{"Capstan's library: what goes wrong", "capstan", "e", "64", "^TestFaults"},
	{"Capstan's library: each condition at each command", "capstan", "f", "64", "^TestConditions"},
	{"tgt: the kernel's tools", "tgt", "c", "2048", "^TestLibrary"},
	{"tgt: Capstan on it", "tgt", "d", "64", "^TestCapstan"},
	{"tgt: after a reboot", "tgt", "d", "64", "^TestReboot"},
}

func onHost(ctx context.Context) error {
	binary := os.Getenv(envBinary)
	if !filepath.IsAbs(binary) {
		return fmt.Errorf("%s=%q: the absolute path of the capstan binary is wanted", envBinary, binary)
	}
	dir, err := os.MkdirTemp("", "devices")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var rows []string
	failed := 0
	for _, b := range boots {
		if !strings.Contains(b.name, *only) {
			continue
		}
		work := filepath.Join(dir, b.dir)
		if err := os.MkdirAll(work, 0o755); err != nil {
			return err
		}
		var console bytes.Buffer
		began := time.Now()
		err := guest.Boot(ctx, guest.Config{
			Kernel: os.Getenv(envKernel), Dir: work, Programs: filepath.Dir(binary), Timeout: 5 * time.Minute, Console: io.MultiWriter(&console, os.Stderr),
			Env:  map[string]string{envLibrary: b.library, envSize: b.size, envBinary: filepath.Join(guest.Programs, filepath.Base(binary))},
			Args: []string{"-test.v", "-test.failfast=false", "-test.timeout=280s", "-test.run=" + b.tests},
		})
		rows = append(rows, fmt.Sprintf("== %s (%.1f s)", b.name, time.Since(began).Seconds()))
		found := results(console.String())
		if err == nil && len(found) == 0 {
			err = errors.New("no test ran in the guest")
		}
		rows = append(rows, found...)
		if err != nil {
			rows = append(rows, "FAIL  "+err.Error())
			failed++
		}
	}
	fmt.Println(strings.Join(rows, "\n"))
	if failed > 0 {
		return fmt.Errorf("%d of the boots failed", failed)
	}
	return nil
}

var (
	line = regexp.MustCompile(`(?m)^\s*--- (PASS|FAIL|SKIP): (\S+) \(([\d.]+)s\)`)
	note = regexp.MustCompile(`(?m)^\s*\S+\.go:\d+: pace: (.*?)\r?$`)
)

// results are the rows of the table from a guest's console: the innermost tests, and
// the paces that they measured.
func results(console string) []string {
	found := line.FindAllStringSubmatch(console, -1)
	var rows []string
	for i, m := range found {
		if i+1 < len(found) && strings.HasPrefix(found[i+1][2], m[2]+"/") {
			continue // its parts have rows of their own
		}
		rows = append(rows, fmt.Sprintf("%s  %-55s %7s s", m[1], strings.TrimPrefix(m[2], "Test"), m[3]))
	}
	for _, m := range note.FindAllStringSubmatch(console, -1) {
		rows = append(rows, "      "+m[1])
	}
	return rows
}
