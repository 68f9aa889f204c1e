package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"capstan/reports"
)

// addOutputFlags gives a command the flags that say how data is written.
func addOutputFlags(cmd *cobra.Command) {
	cmd.Flags().Bool("json", false, "write JSON, sizes in bytes, times in UTC")
	addZoneFlag(cmd)
}

func addZoneFlag(cmd *cobra.Command) {
	cmd.Flags().Bool("utc", false, "show and read times in UTC, not in the local time zone")
}

// output is how cmd's flags and its terminal say that reports are written.
func output(cmd *cobra.Command) reports.Options {
	return reports.Options{
		JSON: flag(cmd, "json"), Color: colored(cmd.OutOrStdout()), Location: zone(cmd), Now: time.Now(),
	}
}

// flag is the value of a flag; false if the command has no such flag.
func flag(cmd *cobra.Command, name string) bool {
	f := cmd.Flags().Lookup(name)
	return f != nil && f.Value.String() == "true"
}

// zone is where the person is.
func zone(cmd *cobra.Command) *time.Location {
	if flag(cmd, "utc") {
		return time.UTC
	}
	return time.Local
}

// colored tells whether w shows colours and nobody has asked for none
// (https://no-color.org).
func colored(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// writeJSON writes one value for programs.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}

// The forms of a time that a person may give.
var timeForms = []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"}

// parseTime reads a time in one of the forms; a zone that is not written is loc.
func parseTime(s string, loc *time.Location) (time.Time, error) {
	for _, form := range timeForms {
		if t, err := time.ParseInLocation(form, s, loc); err == nil {
			return t, nil
		}
	}
	return time.Time{}, wrong("%q is no time; expected one such as 2026-11-23, 2026-11-23 18:00 or 2026-11-23T18:00:00Z", s)
}
