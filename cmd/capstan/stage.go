package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func init() { commands = append(commands, newStageCommand) }

func newStageCommand() *cobra.Command {
	var filesFrom string
	var wait bool
	cmd := &cobra.Command{
		Use:   "stage PATH...",
		Short: "Fetch files of a mount from tape, by one restore for each cartridge",
		Long: `Fetch files and directories of a mount (see capstan mount) from tape before they are
opened: by one restore for each cartridge, which mounts it once, beside what others open.
What was fetched stays for a day at least. The cost is told before it begins: files,
bytes, cartridges, and about how long it takes. With --wait the command ends when all have come.

Exit codes: 0 done, 1 failed, 2 wrong usage.`,
		Example: "  capstan stage --wait /mnt/backups/clients/web1/docs/latest/home/anna\n" +
			"  find /mnt/backups/clients/web1/docs/latest -name '*.tex' -print0 | capstan stage --files-from -",
		RunE: func(cmd *cobra.Command, args []string) error {
			if filesFrom != "" {
				more, err := readPaths(cmd.InOrStdin(), filesFrom)
				if err != nil {
					return err
				}
				args = append(args, more...)
			}
			if len(args) == 0 {
				return wrong("no path is given")
			}
			return stage(cmd, args, wait)
		},
	}
	cmd.Flags().StringVar(&filesFrom, "files-from", "", "read paths from this file, one a line or with a NUL after each; - is standard input")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until all have come")
	return cmd
}

// stage writes a request into the mount that the paths are in, and shows what becomes
// of it.
func stage(cmd *cobra.Command, paths []string, wait bool) error {
	var top string
	var list bytes.Buffer
	for _, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return err
		}
		at, err := mountOf(abs)
		switch {
		case err != nil:
			return err
		case top != "" && at != top:
			return wrong("%s is in the mount %s, and others are in %s: stage them by themselves", p, at, top)
		}
		top = at
		list.WriteString(strings.TrimPrefix(abs, at+"/") + "\x00")
	}
	f, err := os.OpenFile(filepath.Join(top, ".restore/new"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(list.Bytes()); err != nil {
		return fmt.Errorf("the request: %w", err)
	}
	var id int
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	if _, err := fmt.Fscan(f, &id); err != nil {
		return fmt.Errorf("the request was refused, the mount's log says why: %w", err)
	}
	status := filepath.Join(top, ".restore/status", fmt.Sprint(id))
	return followStage(cmd, status, wait)
}

// followStage shows a request, at its beginning and at its end.
func followStage(cmd *cobra.Command, status string, wait bool) error {
	text, err := os.ReadFile(status)
	if err != nil {
		return err
	}
	if !wait {
		_, err = cmd.OutOrStdout().Write(text)
		return err
	}
	for !bytes.Contains(text, []byte("\nended:")) {
		select {
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-time.After(200 * time.Millisecond):
		}
		if text, err = os.ReadFile(status); err != nil {
			return err
		}
	}
	if _, err := cmd.OutOrStdout().Write(text); err != nil {
		return err
	}
	if bytes.Contains(text, []byte("state:     failed")) {
		return errors.New("not all files have come")
	}
	return nil
}

// mountOf is the mount that a path is in: the directory above it that has .restore/new.
func mountOf(path string) (string, error) {
	for dir := path; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, ".restore/new")); err == nil {
			return dir, nil
		}
	}
	return "", wrong("%s is in no mount: see capstan mount", path)
}
