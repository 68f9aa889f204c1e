package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"capstan/fuse"
	"capstan/internal/real"
)

func init() { commands = append(commands, newMountCommand) }

// mountFlags are the flags of mount.
type mountFlags struct {
	stage, limit, options string
	allowOther, debug     bool
	lock                  *os.File // of the staging directory
}

func newMountCommand() *cobra.Command {
	var f mountFlags
	cmd := &cobra.Command{
		Use:   "mount DIR",
		Short: "Show backups as a file system",
		Long: `Show what was backed up as a file system at DIR, until it is unmounted (umount DIR, or
fusermount3 -u DIR) or the command is interrupted. Files are restored by copying them
out: one that lies on tape is fetched when it is opened, with what else is wanted from
the same cartridge, and kept in the staging directory, up to a size.

  clients/CLIENT/POLICY/latest/             the client as it was at its newest backup
  clients/CLIENT/POLICY/2026/11/23/2100_full/   as it was then
  clients/CLIENT/POLICY/versions/           each file as a directory of its versions
  .restore/README                           restores that are asked for by files

As root each user reads what the files' modes let him; another user's mount is his
own, and has what the master shows him. Restores go to this host, whose client daemon
must run. docs/mount.md has more, and a line for /etc/fstab.

Exit codes: 0 done, 1 failed, 2 wrong usage or a mistake in a file.`,
		Example: "  capstan mount /mnt/backups\n  cp -a /mnt/backups/clients/web1/docs/latest/home/anna/thesis ~/",
		Args:    usage(cobra.ExactArgs(1)),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	s := cmd.Flags()
	s.StringVar(&f.stage, "stage", "", "directory for files that were fetched (default: /var/cache/capstan/mount, or below the user's cache directory)")
	s.StringVar(&f.limit, "stage-limit", "20GiB", "how much of them is kept")
	s.BoolVar(&f.allowOther, "allow-other", os.Geteuid() == 0, "let other users look, too")
	s.BoolVar(&f.debug, "debug", false, "log every request of the kernel")
	s.StringVarP(&f.options, "options", "o", "", "options of mount(8), with commas: config=, stage=, limit=, others are passed over")
	return cmd
}

// fstab takes what mount(8) passes of a line of /etc/fstab.
func (f *mountFlags) fstab(cmd *cobra.Command) error {
	for o := range strings.SplitSeq(f.options, ",") {
		name, value, _ := strings.Cut(o, "=")
		switch name {
		case "config":
			if err := cmd.Flags().Set("config", value); err != nil {
				return err
			}
		case "stage":
			f.stage = value
		case "limit":
			f.limit = value
		}
	}
	return nil
}

// sent is how often what was traced is sent to the master.
const sent = 10 * time.Second

func (f *mountFlags) run(cmd *cobra.Command, dir string) error {
	if err := f.fstab(cmd); err != nil {
		return wrong("-o %s: %w", f.options, err)
	}
	limit, err := humanize.ParseBytes(f.limit)
	if err != nil || limit > 1<<60 {
		return wrong("--stage-limit %s: expected a size such as 20GiB", f.limit)
	}
	stage, err := f.stageDir()
	if err != nil {
		return err
	}
	defer f.lock.Close()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, unix.SIGTERM)
	defer stop()
	s, err := real.Open(cmd.Context(), configPath(cmd), cmd.Name())
	if err != nil {
		return err
	}
	defer s.Close()
	m, err := fuse.New(dir, fuse.Config{
		Task: s.Task, Master: s.Master(), Host: s.Host(), Stage: stage, Limit: int64(limit), AllowOther: f.allowOther, Debug: f.debug,
		Log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)),
	})
	if err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() { m.Wait(); close(gone) }()
	fmt.Fprintf(cmd.ErrOrStderr(), "the backups are at %s\n", dir)
	return f.stay(ctx, s, m, dir, gone)
}

// stay returns when the file system is no longer mounted.
func (f *mountFlags) stay(ctx context.Context, s *real.Session, m *fuse.Mount, dir string, gone <-chan struct{}) error {
	tick := time.NewTicker(sent)
	defer tick.Stop()
	for {
		select {
		case <-gone:
			return nil
		case <-tick.C:
			s.Flush()
		case <-ctx.Done():
			if err := m.Unmount(); err != nil {
				return fmt.Errorf("%s is in use, and stays mounted as long as somebody uses it: %w", dir, unix.Unmount(dir, unix.MNT_DETACH))
			}
			return nil
		}
	}
}

// stageDir is the staging directory, which one mount uses at a time.
func (f *mountFlags) stageDir() (string, error) {
	dir := f.stage
	if dir == "" {
		dir = "/var/cache/capstan/mount"
		if os.Geteuid() != 0 {
			cache, err := os.UserCacheDir()
			if err != nil {
				return "", fmt.Errorf("the staging directory: give --stage: %w", err)
			}
			dir = filepath.Join(cache, "capstan", "mount")
		}
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("the staging directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("the staging directory: %w", err)
	}
	f.lock = lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return "", fmt.Errorf("the staging directory %s is used by another mount: give --stage: %w", dir, err)
	}
	return dir, nil
}
