// Command capstan is all of Capstan: the daemons of a domain's hosts, the
// processes that they start for jobs, and the commands of its operators.
//
// "capstan help" lists the commands; "capstan demo" shows all of it at work on
// one machine.
//
// It exits with 0 if all went well, 1 if the command failed, 2 if it was called
// wrongly; and a command that waited for a job with 3 if the job was partially
// successful (status 1), 4 if it failed.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"capstan/hw/process"
)

// version is set by the linker.
var version = "unknown"

// commands are the subcommands: the file of each adds its own.
var commands []func() *cobra.Command

// newRoot makes the command line. running is called when it was found correct
// and the command begins.
func newRoot(running func()) *cobra.Command {
	root := &cobra.Command{
		Use:           "capstan",
		Short:         "Backup to tape and disk",
		Long:          "Capstan backs up the hosts of a domain to tape and disk, and restores them.",
		Example:       "  capstan demo",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().String("config", "", "the host's configuration file (default $CAPSTAN_CONFIG, or "+defaultConfig+")")
	for _, newCommand := range commands {
		root.AddCommand(newCommand())
	}
	watch(root, running)
	return root
}

// watch has running called before what a command does.
func watch(cmd *cobra.Command, running func()) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			running()
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		watch(sub, running)
	}
}

// run runs the command line and returns the exit status. SIGINT and SIGTERM end
// the command's context; a second one ends the process.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	running := false
	err := newRoot(func() { running = true }).ExecuteContext(ctx)
	var exit *exitError
	if err != nil && !running && !errors.As(err, &exit) {
		err = wrong("%w; see capstan help", err)
	}
	return report(os.Stderr, err)
}

func main() {
	if calledAsMountHelper() {
		os.Exit(asMountHelper(os.Args[1:]))
	}
	if len(os.Args) > 1 && os.Args[1] == process.Subcommand {
		runProcess()
	}
	os.Exit(run())
}
