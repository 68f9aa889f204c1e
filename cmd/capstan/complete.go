package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"capstan/core/bpdbm"
	"capstan/core/bpjobd"
	"capstan/core/job"
	"capstan/core/policy"
)

// completion is what a shell asks for the candidates of a word.
type completion = func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective)

// completed completes a word with what the master knows; if it cannot be asked,
// there are no candidates.
func completed(list func(ctx context.Context, m master) ([]cobra.Completion, error)) completion {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var all []cobra.Completion
		err := withMaster(cmd, func(ctx context.Context, m master) (err error) {
			all, err = list(ctx, m)
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}

// first completes only the first argument.
func first(complete completion) completion {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, word)
	}
}

var (
	completePolicy = completed(func(ctx context.Context, m master) (all []cobra.Completion, err error) {
		ps, err := m.policies(ctx)
		for _, p := range ps {
			all = append(all, cobra.CompletionWithDesc(p.Name, "to "+p.Storage))
		}
		return all, err
	})
	completeClient = completed(func(ctx context.Context, m master) (all []cobra.Completion, err error) {
		ps, err := m.policies(ctx)
		return clients(ps), err
	})
	completeJob = completed(func(ctx context.Context, m master) ([]cobra.Completion, error) {
		js, _, err := m.jobs(ctx, bpjobd.Query{})
		return jobNumbers(js, func(*job.Job) bool { return true }), err
	})
	completeLiveJob = completed(func(ctx context.Context, m master) ([]cobra.Completion, error) {
		js, _, err := m.jobs(ctx, bpjobd.Query{})
		return jobNumbers(js, func(j *job.Job) bool { return !j.Done() }), err
	})
	completeImage = completed(func(ctx context.Context, m master) (all []cobra.Completion, err error) {
		hs, err := m.images(ctx, bpdbm.Query{})
		for _, h := range slices.Backward(hs) {
			all = append(all, cobra.CompletionWithDesc(h.ID, h.Policy+" "+typeName(h.Type)))
		}
		return all, err
	})
)

// clients are the names of all clients that policies back up.
func clients(ps []policy.Policy) []cobra.Completion {
	var names []cobra.Completion
	for _, p := range ps {
		names = append(names, p.Clients...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// jobNumbers are the newest jobs of a kind.
func jobNumbers(js []job.Job, want func(*job.Job) bool) (all []cobra.Completion) {
	const most = 100
	for i := len(js) - 1; i >= 0 && len(all) < most; i-- {
		if j := &js[i]; want(j) {
			all = append(all, cobra.CompletionWithDesc(strconv.FormatInt(j.ID, 10), fmt.Sprintf("%s of %s, %s", j.Type, j.Client, j.State)))
		}
	}
	return all
}

// words completes with fixed words.
func words(all ...cobra.Completion) completion {
	return cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp)
}

// completeFlag says how a flag's value is completed. It panics if cmd has no
// such flag.
func completeFlag(cmd *cobra.Command, name string, complete completion) {
	if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
		panic(err)
	}
}
