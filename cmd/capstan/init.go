package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"capstan/core/pbx"
	"capstan/internal/real"
)

func init() { commands = append(commands, newInitCommand) }

func newInitCommand() *cobra.Command {
	var s real.Starter
	var kinds string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a new domain and its master",
		Long: `Makes a new domain on the host that becomes its master: the authority that
certifies all other hosts, the master's own key and certificate, and a
configuration to start from, all in one directory.

A host of several kinds is a whole domain by itself; if it is a media server, its
configuration has a small virtual tape library and a disk storage unit.

` + exitCodes,
		Example: `  capstan init --domain example --name backup1 --dir /etc/capstan
  capstan init --domain example --name backup1 --kinds master,media,client --listen 192.0.2.10:1556 --dir /srv/capstan`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if s.Kinds, err = parseKinds(kinds); err != nil {
				return err
			}
			if s.Kinds&pbx.Master == 0 || s.Kinds&pbx.User != 0 {
				return wrong("kinds %q: the first host of a domain is its master; give master, or master and others", kinds)
			}
			if s.Dir, err = filepath.Abs(s.Dir); err != nil {
				return err
			}
			path, err := real.Init(s)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Domain %s is made. Edit %s, then run\n\n  capstan master --config %s\n", s.Domain, path, path)
			return err
		},
	}
	cmd.Flags().StringVar(&s.Domain, "domain", "", "the domain's name")
	cmd.Flags().StringVar(&s.Name, "name", "", "the master's host name")
	cmd.Flags().StringVar(&kinds, "kinds", "master", "what the host is: master, or with media or client")
	cmd.Flags().StringVar(&s.Listen, "listen", "0.0.0.0:1556", "ip:port to listen on")
	cmd.Flags().StringVar(&s.Dir, "dir", "", "directory for configuration and state")
	required(cmd, "domain", "name", "dir")
	return cmd
}

// required marks flags without which a command is called wrongly.
func required(cmd *cobra.Command, flags ...string) {
	for _, f := range flags {
		if err := cmd.MarkFlagRequired(f); err != nil {
			panic(err) // the flag was not declared
		}
	}
}

// parseKinds reads a list of kinds of host.
func parseKinds(s string) (pbx.Kinds, error) {
	k, ok := pbx.ParseKinds(strings.ReplaceAll(s, ",", "+"))
	if !ok {
		return 0, wrong("kinds %q: want some of master, media, client, or user, joined by commas", s)
	}
	return k, nil
}
