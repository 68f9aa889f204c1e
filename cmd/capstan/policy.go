package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"capstan/core/nbpem"
	"capstan/core/policy"
	"capstan/internal/convert"
	"capstan/reports"
	"capstan/scenarios"
)

func init() { commands = append(commands, newPolicyCommand) }

func newPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Say what is backed up, when, and to where",
		Long: `A policy says which clients and paths are backed up, when, to which storage unit,
and how long the images are kept. It is written as a YAML file; docs/configuration.md
lists the fields. The master keeps the policies: a file that was changed has to be
added again.`,
		Example: "  capstan policy add home-to-tape.yaml\n  capstan policy list",
	}
	cmd.AddCommand(newPolicyList(), newPolicyShow(), newPolicyAdd(), newPolicyExport(), newPolicyDelete())
	return cmd
}

func newPolicyList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the policies, and when each is due next",
		Long:    "List the policies, and when the first of each one's clients is due.\n\n" + exitCodes,
		Example: "  capstan policy list",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withMaster(cmd, func(ctx context.Context, m master) error {
				ps, err := m.policies(ctx)
				if err != nil {
					return err
				}
				due, err := nbpem.Worklist.Call(ctx, m.at(nbpem.Service), struct{}{})
				if err != nil {
					return err
				}
				return reports.WritePolicies(cmd.OutOrStdout(), policyRows(ps, due), output(cmd))
			})
		},
	}
	addOutputFlags(cmd)
	return cmd
}

func policyRows(ps []policy.Policy, due []nbpem.Due) []reports.Policy {
	rows := make([]reports.Policy, len(ps))
	for i, p := range ps {
		rows[i] = reports.Policy{Name: p.Name, Active: p.Active, Clients: p.Clients, Paths: p.Paths, Storage: p.Storage, Schedules: []string{}}
		for _, s := range p.Schedules {
			rows[i].Schedules = append(rows[i].Schedules, s.Name)
		}
		for _, d := range due {
			if at := instant(d.At); d.Policy == p.Name && !at.IsZero() && (rows[i].Next.IsZero() || at.Before(rows[i].Next)) {
				rows[i].Next = at
			}
		}
	}
	return rows
}

func newPolicyShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "show NAME",
		Short:             "Show a policy, and when each of its clients is due",
		Long:              "Show a policy, its schedules, and when each of its clients is due.\n\n" + exitCodes,
		Example:           "  capstan policy show home-to-tape",
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: first(completePolicy),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withMaster(cmd, func(ctx context.Context, m master) error {
				p, err := m.policy(ctx, args[0])
				if err != nil {
					return err
				}
				all, err := nbpem.Worklist.Call(ctx, m.at(nbpem.Service), struct{}{})
				if err != nil {
					return err
				}
				return showPolicy(cmd, &p, dueRows(all, p.Name))
			})
		},
	}
	addOutputFlags(cmd)
	return cmd
}

func dueRows(all []nbpem.Due, policy string) []reports.Due {
	rows := []reports.Due{}
	for _, d := range all {
		if d.Policy == policy {
			rows = append(rows, reports.Due{Policy: d.Policy, Client: d.Client, Schedule: d.Schedule, At: instant(d.At), Running: d.Running})
		}
	}
	return rows
}

// shownPolicy is the JSON of policy show: the fields of the policy's file, and
// its part of the worklist.
type shownPolicy struct {
	Policy json.RawMessage `json:"policy"`
	Due    []reports.Due   `json:"due"`
}

func writePolicyJSON(w io.Writer, p *policy.Policy, due []reports.Due) error {
	file := convert.PolicyFile(p)
	text, err := scenarios.Marshal(&file)
	if err == nil {
		text, err = yaml.YAMLToJSON(text)
	}
	if err != nil {
		return fmt.Errorf("policy %s: %w", p.Name, err)
	}
	return writeJSON(w, shownPolicy{text, due})
}

func showPolicy(cmd *cobra.Command, p *policy.Policy, due []reports.Due) error {
	o, w := output(cmd), cmd.OutOrStdout()
	if o.JSON {
		return writePolicyJSON(w, p, due)
	}
	active := "yes"
	if !p.Active {
		active = "no: it starts no backups"
	}
	fields := []reports.Field{
		{Name: "Policy", Value: p.Name}, {Name: "Active", Value: active},
		{Name: "Clients", Value: strings.Join(p.Clients, ", ")}, {Name: "Paths", Value: strings.Join(p.Paths, ", ")},
		{Name: "Left out", Value: strings.Join(p.Exclude, ", ")}, {Name: "Storage", Value: p.Storage}, {Name: "Pool", Value: p.Pool},
		{Name: "Priority", Value: fmt.Sprint(p.Priority)}, {Name: "Kept", Value: kept(p.Retention)},
		{Name: "Jobs at once", Value: limits(p.Limits)}, {Name: "Time zone", Value: cmp.Or(p.Zone, "UTC")},
	}
	for _, s := range p.Schedules {
		fields = append(fields, reports.Field{Name: "Schedule " + s.Name, Value: schedule(&s)})
	}
	if err := reports.WriteFields(w, fields, o); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return reports.WriteDue(w, due, o)
}

func kept(d time.Duration) string {
	if d == 0 {
		return "for ever"
	}
	return scenarios.Duration(d).String()
}

func limits(l policy.Limits) string {
	var s []string
	for _, limit := range []struct {
		n  int
		of string
	}{{l.JobsPerPolicy, "of the policy"}, {cmp.Or(l.ThisClient, l.JobsPerClient), "of each client"}} {
		if limit.n > 0 {
			s = append(s, fmt.Sprintf("%d %s", limit.n, limit.of))
		}
	}
	return cmp.Or(strings.Join(s, ", "), "no limit")
}

// schedule describes a schedule in a line.
func schedule(s *policy.Schedule) string {
	text := typeName(string(s.Type))
	if s.Frequency > 0 {
		text += ", every " + scenarios.Duration(s.Frequency).String()
	}
	if s.Retention > 0 {
		text += ", kept " + scenarios.Duration(s.Retention).String()
	}
	if len(s.Windows) == 0 {
		return text + ", only by hand"
	}
	for _, w := range convert.ScheduleFile(s).Windows {
		text += fmt.Sprintf("; %s from %s for %s", w.Days, w.Start, w.Length)
	}
	return text
}

func newPolicyAdd() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "add FILE…",
		Short: "Add policies from YAML files, or change them",
		Long: `Add the policy of each file; one of the same name is replaced. All files are read
first: if one has a mistake, each is reported with file, line and column, and no
policy is added. Nor is it if one names a storage unit that the master has not.

` + exitCodes,
		Example: "  capstan policy add --check home-to-tape.yaml\n  capstan policy add home-to-tape.yaml db-to-disk.yaml",
		Args:    usage(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			ps, err := readPolicies(files)
			if err != nil {
				return err
			}
			if check {
				return nil
			}
			return withMaster(cmd, func(ctx context.Context, m master) error {
				if err := m.stores(ctx, ps); err != nil {
					return err
				}
				for _, p := range ps {
					if _, err := nbpem.PutPolicy.Call(ctx, m.at(nbpem.Service), p); err != nil {
						return fmt.Errorf("policy %s: %w", p.Name, err)
					}
					fmt.Fprintf(cmd.ErrOrStderr(), "policy %s added\n", p.Name)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "only say what is wrong with the files")
	return cmd
}

// stores checks that the master has the storage units that the policies name.
func (m master) stores(ctx context.Context, ps []policy.Policy) error {
	l, err := m.devices(ctx)
	if err != nil {
		return err
	}
	var known []string
	for _, u := range l.Units {
		known = append(known, u.Name)
	}
	for _, g := range l.Groups {
		known = append(known, g.Name)
	}
	for _, p := range ps {
		if !slices.Contains(known, p.Storage) {
			return wrong("policy %s: there is no storage unit or group %s; expected one of: %s", p.Name, p.Storage, strings.Join(known, ", "))
		}
	}
	return nil
}

// readPolicies reads all files, and gives the mistakes of all.
func readPolicies(files []string) ([]policy.Policy, error) {
	var ps []policy.Policy
	var all scenarios.Mistakes
	for _, file := range files {
		p, err := scenarios.Read[scenarios.Policy](file)
		var mistakes scenarios.Mistakes
		switch {
		case errors.As(err, &mistakes):
			all = append(all, mistakes...)
		case err != nil:
			return nil, wrong("%w", err)
		default:
			ps = append(ps, convert.Policy(p))
		}
	}
	if len(all) > 0 {
		return nil, mistaken(all)
	}
	return ps, nil
}

// mistaken is the error of files that have mistakes.
func mistaken(all scenarios.Mistakes) error {
	n := "one mistake"
	if len(all) != 1 {
		n = fmt.Sprintf("%d mistakes", len(all))
	}
	return wrong("%s:\n%w", n, all)
}

func newPolicyExport() *cobra.Command {
	return &cobra.Command{
		Use:               "export NAME",
		Short:             "Write a policy as the YAML that add reads",
		Long:              "Write a policy to standard output, as the YAML that capstan policy add reads.\n\n" + exitCodes,
		Example:           "  capstan policy export home-to-tape > home-to-tape.yaml",
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: first(completePolicy),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withMaster(cmd, func(ctx context.Context, m master) error {
				p, err := m.policy(ctx, args[0])
				if err != nil {
					return err
				}
				file := convert.PolicyFile(&p)
				text, err := scenarios.Marshal(&file)
				if err != nil {
					return fmt.Errorf("policy %s: %w", p.Name, err)
				}
				_, err = cmd.OutOrStdout().Write(text)
				return err
			})
		},
	}
}

func newPolicyDelete() *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a policy; its images stay",
		Long: `Delete a policy: nothing is backed up by it any more. Jobs that run go on, and its
images are kept until they expire.

` + exitCodes,
		Example:           "  capstan policy delete home-to-tape",
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: first(completePolicy),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withMaster(cmd, func(ctx context.Context, m master) error {
				if _, err := nbpem.DeletePolicy.Call(ctx, m.at(nbpem.Service), args[0]); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "policy %s deleted\n", args[0])
				return nil
			})
		},
	}
}
