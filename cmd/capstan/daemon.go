package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"capstan/core/pbx"
	"capstan/internal/real"
)

func init() {
	commands = append(commands, newMasterCommand, newMediaCommand, newClientCommand)
}

func newMasterCommand() *cobra.Command {
	return newDaemonCommand(pbx.Master, "master", "Run the daemon of a master server",
		`Runs the daemon of the domain's master in the foreground: job, policy, image and
media databases, the scheduler, and whatever else the host's configuration says
that it is.`)
}

func newMediaCommand() *cobra.Command {
	cmd := newDaemonCommand(pbx.Media, "media", "Run the daemon of a media server, or list the media",
		`Runs the daemon of a media server in the foreground: it has the drives, robots
and disks that images are written to, and runs the virtual libraries of its
configuration. With "list" it lists the cartridges instead.`)
	cmd.AddCommand(newMediaListCommand(), newMediaChangeCommand(), newMediaInventoryCommand(), newMediaExportCommand(), newMediaImportCommand())
	return cmd
}

func newClientCommand() *cobra.Command {
	return newDaemonCommand(pbx.Client, "client", "Run the daemon of a client",
		`Runs the daemon of a client in the foreground: on request of a media server it
reads the host's files for a backup, and writes them in a restore.`)
}

// newDaemonCommand makes the command that runs the daemon of a host. All kinds
// have the same; each insists that the host is configured as its kind.
func newDaemonCommand(kind pbx.Kinds, name, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		Long: long + `

The log goes to standard error. SIGTERM and SIGINT end the jobs that work on this
host, then the daemon; a second one ends it at once. No process of a job outlives
the daemon, however it ends.

` + exitCodes,
		Example: fmt.Sprintf("  capstan %s --config /etc/capstan/host.yaml", name),
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := slog.LevelInfo
			if flag(cmd, "debug") {
				level = slog.LevelDebug
			}
			return runDaemon(cmd.Context(), configPath(cmd), kind, level)
		},
	}
	cmd.Flags().Bool("debug", false, "log what is of interest to developers, too")
	return cmd
}

func runDaemon(ctx context.Context, config string, kind pbx.Kinds, level slog.Level) error {
	signal.Ignore(unix.SIGPIPE, unix.SIGHUP) // a terminal or a pager that is gone ends no daemon
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	return real.Run(ctx, config, real.Options{Kind: kind, Log: log})
}

// runProcess is the program as daemons start it for the processes of jobs and virtual
// libraries. A job waits for several of them one after the other: they do without what a
// command line needs.
func runProcess() { os.Exit(real.Process()) }
