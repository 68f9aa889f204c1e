package fuse

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// signals is a set of them, as /proc/PID/status has it: bit N-1 is signal N (proc(5)).
type signals uint64

func setOf(all ...syscall.Signal) (s signals) {
	for _, sig := range all {
		s |= 1 << (sig - 1)
	}
	return s
}

var (
	// asked are signals by which programs are asked to end: one that handles them wants to.
	asked = setOf(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	// harmless are those that do not end a program that does not handle them (signal(7)).
	harmless = setOf(syscall.SIGCHLD, syscall.SIGURG, syscall.SIGWINCH, syscall.SIGCONT,
		syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
)

// ending tells whether a thread, by the number that the kernel's requests have, has a
// signal before it that ends its program. One that is gone, or cannot be seen, has: else
// nothing would end its wait.
func ending(thread uint32) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	return err != nil || fatal(b)
}

// fatal tells the same of what /proc/PID/status says.
func fatal(text []byte) bool {
	set := map[string]signals{}
	for line := range bytes.Lines(text) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		if n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64); err == nil {
			set[string(key)] = signals(n)
		}
	}
	pending := (set["SigPnd"] | set["ShdPnd"]) &^ set["SigBlk"] &^ set["SigIgn"]
	return pending&asked != 0 || pending&^harmless&^set["SigCgt"] != 0
}
