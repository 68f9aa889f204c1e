package fuse

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestFatal: which pending signals end a program, as proc(5) writes them.
func TestFatal(t *testing.T) {
	const chld, alrm, usr1, winch, stop = syscall.SIGCHLD, syscall.SIGALRM, syscall.SIGUSR1, syscall.SIGWINCH, syscall.SIGSTOP
	for _, c := range []struct {
		thread, process, caught, blocked, ignored []syscall.Signal
		want                                      bool
	}{
		{},
		{thread: []syscall.Signal{syscall.SIGKILL}, want: true},
		{process: []syscall.Signal{syscall.SIGINT}, want: true},
		{process: []syscall.Signal{syscall.SIGINT}, caught: []syscall.Signal{syscall.SIGINT}, want: true},
		{process: []syscall.Signal{syscall.SIGINT}, blocked: []syscall.Signal{syscall.SIGINT}},
		{process: []syscall.Signal{syscall.SIGHUP}, ignored: []syscall.Signal{syscall.SIGHUP}},
		{process: []syscall.Signal{chld, winch}, caught: []syscall.Signal{chld, winch}},
		{process: []syscall.Signal{chld, winch, stop}},
		{thread: []syscall.Signal{alrm, usr1}, caught: []syscall.Signal{alrm, usr1}},
		{thread: []syscall.Signal{alrm}, caught: []syscall.Signal{usr1}, want: true},
		{process: []syscall.Signal{64}, want: true},
		{process: []syscall.Signal{64}, caught: []syscall.Signal{64}},
	} {
		text := fmt.Sprintf("Name:\tx\nSigQ:\t0/1\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n",
			setOf(c.thread...), setOf(c.process...), setOf(c.blocked...), setOf(c.ignored...), setOf(c.caught...))
		if got := fatal([]byte(text)); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if ending(uint32(os.Getpid())) {
		t.Error("this program is to end")
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if !ending(uint32(gone.Process.Pid)) {
		t.Error("one that has ended is not")
	}
}
