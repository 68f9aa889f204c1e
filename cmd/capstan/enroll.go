package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan/core/pbx"
	"capstan/internal/real"
)

func init() { commands = append(commands, newEnrollCommand) }

func newEnrollCommand() *cobra.Command {
	var e enrollment
	cmd := &cobra.Command{
		Use:   "enroll",
		Short: "Make a host or a person a member of a domain",
		Long: `Makes a host or a person a member of a domain, in two steps.

On the master, --token-for makes a token for one name, to be used once within its
lifetime. It prints the command to be run on the host.

On the host, that command shows the token to the master, which must be running,
and keeps key and certificate in --dir, with a configuration to start from. For a
person (--kinds user) the directory is the one in which capstan's commands look,
in the person's own configuration directory.

` + exitCodes,
		Example: `  capstan enroll --token-for media1 --kinds media
  capstan enroll --master backup1=192.0.2.10:1556 --token T --name media1 --dir /etc/capstan`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if e.tokenFor != "" {
				return e.makeToken(cmd)
			}
			return e.enroll(cmd)
		},
	}
	f := cmd.Flags()
	f.StringVar(&e.tokenFor, "token-for", "", "on the master: make a token for this name")
	f.StringVar(&e.kinds, "kinds", "client", "with --token-for: what the name is: media, client or both, or user")
	f.DurationVar(&e.lifetime, "lifetime", 24*time.Hour, "with --token-for: how long the token can be used")
	f.StringVar(&e.master, "master", "", "the master: its name, =, and its ip:port")
	f.StringVar(&e.starter.Token, "token", "", "the token")
	f.StringVar(&e.starter.Name, "name", "", "the name that the token was made for")
	f.StringVar(&e.starter.Listen, "listen", "0.0.0.0:1556", "ip:port that the host shall listen on")
	f.StringVar(&e.starter.Dir, "dir", "", "directory for configuration and state (for a person: not needed)")
	cmd.MarkFlagsMutuallyExclusive("token-for", "token")
	cmd.MarkFlagsOneRequired("token-for", "token")
	cmd.MarkFlagsRequiredTogether("master", "token", "name")
	return cmd
}

// enrollment is the command's flags.
type enrollment struct {
	tokenFor, kinds string
	lifetime        time.Duration
	master          string
	starter         real.Starter
}

func (e *enrollment) makeToken(cmd *cobra.Command) error {
	kinds, err := parseKinds(e.kinds)
	if err != nil {
		return err
	}
	if kinds&pbx.Master != 0 {
		return wrong("kinds %q: a domain has one master, made by capstan init", e.kinds)
	}
	token, h, err := real.NewToken(configPath(cmd), e.tokenFor, kinds, e.lifetime)
	if err != nil {
		return err
	}
	dir := " --dir /etc/capstan"
	if kinds == pbx.User {
		dir = ""
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "capstan enroll --master %s=%s --name %s%s --token %s\n", h.Config.Name, h.Config.Listen, e.tokenFor, dir, token)
	return err
}

func (e *enrollment) enroll(cmd *cobra.Command) error {
	name, addr, ok := strings.Cut(e.master, "=")
	if !ok || name == "" || addr == "" {
		return wrong("--master %q: want the master's name and address, such as backup1=192.0.2.10:1556", e.master)
	}
	e.starter.MasterName, e.starter.MasterAddress = name, addr
	if e.starter.Dir != "" {
		var err error
		if e.starter.Dir, err = filepath.Abs(e.starter.Dir); err != nil {
			return err
		}
	}
	path, id, err := real.Enroll(cmd.Context(), e.starter)
	if err != nil {
		return err
	}
	if path == "" {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "You are %s.\n", id)
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "This host is %s. Edit %s, then run\n\n  capstan %s --config %s\n", id, path, daemonCommand(id.Kinds), path)
	return err
}

// daemonCommand is the subcommand that runs the daemon of a host of some kinds.
func daemonCommand(k pbx.Kinds) string {
	first, _, _ := strings.Cut(k.String(), "+")
	return first
}
