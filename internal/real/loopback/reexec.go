package loopback

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/pbx"
	"capstan/hw/process"
	"capstan/internal/real"
)

// daemonWord tells a test binary that it is a daemon.
const daemonWord = "loopback-daemon"

// Reexec lets a test binary be the daemons of a domain and their processes: a
// TestMain calls it first, with [Self] as Options.Command. It returns if the
// binary was started for neither.
func Reexec() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == process.Subcommand:
		os.Exit(real.Process())
	case len(os.Args) == 4 && os.Args[1] == daemonWord:
		os.Exit(runDaemon(os.Args[2], os.Args[3]))
	}
}

// Self is the command that runs a daemon as a process of this very binary.
func Self(kind, config string) *exec.Cmd {
	return exec.Command("/proc/self/exe", daemonWord, kind, config)
}

func runDaemon(kind, config string) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	k, _ := pbx.ParseKinds(kind)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := real.Run(ctx, config, real.Options{Kind: k, Log: log, Grace: time.Second}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
