package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"capstan/core/status"
)

// The exit codes of every command.
const (
	exitOK      = 0
	exitFailed  = 1 // the command could not do what it was asked
	exitUsage   = 2 // the command line, or a file given to it, is wrong: nothing was done
	exitPartial = 3 // with --wait: a job ended with status 1, partly successful, and none failed
	exitJob     = 4 // with --wait: a job failed; sim run: the outcome is not the expected one
)

// exitCodes is how help describes them.
const exitCodes = `Exit codes: 0 done, 1 failed, 2 wrong usage or a mistake in a file.`

// exitCodesWait is that of commands which can wait for a job.
const exitCodesWait = exitCodes + ` With --wait
also 3 if a job was partly successful (status 1), and 4 if one failed.`

// exitError is an error that says with which code the command exits.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// wrong makes an error of wrong usage.
func wrong(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// usage has a check of arguments fail as wrong usage.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return wrong("%w; see %s --help", err, cmd.CommandPath())
		}
		return nil
	}
}

// exitCode is the code that a command exits with after err.
func exitCode(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		return e.code
	case status.Of(err, status.OK) == status.BadParameter:
		return exitUsage
	}
	return exitFailed
}

// report tells a person what went wrong, and gives the code to exit with.
func report(w io.Writer, err error) int {
	if err != nil {
		fmt.Fprintf(w, "capstan: %v\n", err)
	}
	return exitCode(err)
}
