package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"capstan/internal/real"
)

// defaultConfig is where a host's configuration is.
const defaultConfig = "/etc/capstan/host.yaml"

// configPath is the configuration file of a command: flag, environment, default.
func configPath(cmd *cobra.Command) string {
	if path, err := cmd.Flags().GetString("config"); err == nil && path != "" {
		return path
	}
	if path := os.Getenv("CAPSTAN_CONFIG"); path != "" {
		return path
	}
	return defaultConfig
}

// connect opens a session with the master for a person's command, as the host
// whose configuration is found or, where its key cannot be read, as the user.
// Calls to services of the host named master are made under ctx, which carries
// the task, the transport and a tracer; done sends what was traced and ends it.
func connect(cmd *cobra.Command) (ctx context.Context, master string, done func(), err error) {
	s, err := real.Open(cmd.Context(), configPath(cmd), cmd.Name())
	if err != nil {
		return nil, "", nil, err
	}
	return s.Context(), s.Master(), s.Close, nil
}
