package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"capstan/core/scsi"
	"capstan/internal/convert"
	"capstan/internal/vtlserve"
	"capstan/scenarios"
)

func init() { commands = append(commands, newVTLCommand) }

func newVTLCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vtl",
		Short: "Offer a virtual tape library over iSCSI, and disturb it",
		Long: `Offer a virtual tape library over iSCSI to any program that uses tape, and, while
it runs, be the person at its mail slots, or its bad luck.`,
		Example: "  capstan vtl serve --library library.yaml --dir /var/lib/capstan/vtl1",
	}
	cmd.AddCommand(newVTLServe(), newVTLInject(), newVTLClear(), newVTLAlert(), newVTLPowerCycle(), newVTLTakeOut(), newVTLPutIn())
	return cmd
}

// vtlServe are the flags of vtl serve.
type vtlServe struct {
	cfg                    vtlserve.Config
	library, timing        string
	memory, debug          bool
	accounts               []string
	mutual, name, dir, own string
}

func newVTLServe() *cobra.Command {
	var f vtlServe
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Offer a virtual tape library over iSCSI",
		Long: `Offer a virtual tape library over iSCSI, until SIGTERM or SIGINT: LUN 0 is its robot,
each drive has one from 1 on. An initiator logs in to it as to any target; Linux then
has /dev/sch0, /dev/nst0, /dev/nst1 and so on. docs/library.md says how.

Standard output tells the target's name, its portal, the socket of the commands that
disturb the library, and its logical units; the log goes to standard error. At the
end commands that have begun end, and all that was written is durable.

Whoever reaches the address can use the library, unless --chap gives accounts. Each
is NAME:FILE; the file holds the secret, 12 bytes or more, and nobody else may read it.

` + exitCodes,
		Example: "  capstan vtl serve --library library.yaml --dir /var/lib/capstan/vtl1\n" +
			"  capstan vtl serve --library library.yaml --memory --timing off --listen 127.0.0.1:3260\n" +
			"  capstan vtl serve --library library.yaml --listen 192.0.2.1:3260 --chap host1:/etc/capstan/host1.secret",
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	s := cmd.Flags()
	s.StringVar(&f.library, "library", "", "the file that describes the library (docs/configuration.md)")
	s.StringVar(&f.cfg.Listen, "listen", "127.0.0.1:3260", "address and port to listen at")
	s.StringVar(&f.dir, "dir", "", "directory of the cartridges (default the file's dir)")
	s.BoolVar(&f.memory, "memory", false, "keep the cartridges in memory: nothing is left at the end")
	s.StringVar(&f.timing, "timing", "", `how long things take: off, real, or such as "scale 60" (default the file's timing)`)
	s.StringVar(&f.name, "name", "", "iSCSI name of the target (default made of the library's name)")
	s.StringSliceVar(&f.cfg.ISCSI.Portals, "portal", nil, "address and port that discovery tells, if not the one that it was asked at")
	s.StringArrayVar(&f.accounts, "chap", nil, "NAME:FILE, an initiator's name and the file of its secret; may be repeated")
	s.StringVar(&f.mutual, "mutual", "", "NAME:FILE, by which the target proves itself to initiators that ask for it")
	s.StringVar(&f.own, "socket", "", "socket of the commands that disturb the library (default in the directory for temporary files)")
	s.BoolVar(&f.debug, "debug", false, "log what is of interest to developers, too")
	return cmd
}

func (f *vtlServe) run(cmd *cobra.Command) error {
	if err := f.configure(); err != nil {
		return err
	}
	level := slog.LevelInfo
	if f.debug {
		level = slog.LevelDebug
	}
	f.cfg.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	out := cmd.OutOrStdout()
	f.cfg.Started = func(o vtlserve.Offer) { writeOffer(out, o) }
	return vtlserve.Run(cmd.Context(), &f.cfg)
}

// configure makes the configuration of the flags.
func (f *vtlServe) configure() error {
	if f.library == "" {
		return wrong("give the file that describes the library: --library FILE")
	}
	text, err := os.ReadFile(f.library)
	if err != nil {
		return wrong("%w", err)
	}
	l, err := scenarios.Load[scenarios.Library](f.library, text)
	if err != nil {
		return wrong("%w", err)
	}
	if f.timing != "" {
		if err := l.Timing.UnmarshalText([]byte(f.timing)); err != nil {
			return wrong("--timing: %w", err)
		}
	}
	f.cfg.Library = convert.Library(l)
	f.cfg.Dir = l.Dir
	if f.dir != "" {
		f.cfg.Dir = f.dir
	}
	switch {
	case f.memory && f.dir != "":
		return wrong("--memory and --dir: give one of them")
	case f.memory:
		f.cfg.Dir = ""
	case f.cfg.Dir == "":
		return wrong("the library's file has no dir: give --dir DIRECTORY, or --memory to keep nothing")
	}
	if f.cfg.Socket = f.own; f.own == "" {
		f.cfg.Socket = filepath.Join(os.TempDir(), fmt.Sprintf("capstan-vtl-%d", os.Getuid()), l.Name)
	}
	if f.cfg.ISCSI.Name = f.name; f.name == "" {
		f.cfg.ISCSI.Name = vtlserve.Name(l.Name)
	}
	f.cfg.ISCSI.Alias = l.Name
	if err := f.secrets(); err != nil {
		return err
	}
	if err := f.cfg.ISCSI.Check(); err != nil {
		return wrong("%w", err)
	}
	return nil
}

// secrets reads the files of the accounts.
func (f *vtlServe) secrets() (err error) {
	f.cfg.ISCSI.Accounts = map[string]string{}
	for _, a := range f.accounts {
		name, secret, err := readAccount(a)
		if err != nil {
			return wrong("--chap %s: %w", a, err)
		}
		f.cfg.ISCSI.Accounts[name] = secret
	}
	if f.mutual == "" {
		return nil
	}
	if len(f.accounts) == 0 {
		return wrong("--mutual needs --chap: the target proves itself only to initiators that do")
	}
	if f.cfg.ISCSI.MutualName, f.cfg.ISCSI.MutualSecret, err = readAccount(f.mutual); err != nil {
		return wrong("--mutual %s: %w", f.mutual, err)
	}
	return nil
}

// readAccount reads NAME:FILE. The secret is the file's first line.
func readAccount(s string) (name, secret string, err error) {
	name, file, ok := strings.Cut(s, ":")
	if !ok || name == "" || file == "" {
		return "", "", fmt.Errorf("expected NAME:FILE")
	}
	st, err := os.Stat(file)
	if err != nil {
		return "", "", err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return "", "", fmt.Errorf("others may read %s: chmod 600", file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", "", err
	}
	secret, _, _ = strings.Cut(string(b), "\n")
	return name, strings.TrimSuffix(secret, "\r"), nil
}

// writeOffer tells what initiators find.
func writeOffer(w io.Writer, o vtlserve.Offer) {
	fmt.Fprintf(w, "target  %s\nportal  %s\nsocket  %s\n\n", o.Target, o.Address, o.Socket)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LUN\tTYPE\tNAME\tSERIAL")
	for _, u := range o.Units {
		kind := "drive"
		if u.Type == scsi.Changer {
			kind = "robot"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\n", u.LUN, kind, u.Name, u.Serial)
	}
	t.Flush() //nolint:errcheck // what is written to a terminal has no error to act on
}
