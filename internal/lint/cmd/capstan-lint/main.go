// Command capstan-lint checks the house's rules over packages of the module and
// prints what it finds; the exit status is 1 if it finds anything.
//
//	go run ./internal/lint/cmd/capstan-lint ./...
package main

import (
	"fmt"
	"os"

	"capstan/internal/lint"
)

func main() {
	patterns := os.Args[1:]
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	findings, err := lint.Run(".", patterns...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "capstan-lint:", err)
		os.Exit(2)
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	if len(findings) > 0 {
		os.Exit(1)
	}
}
