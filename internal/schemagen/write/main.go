// Command write writes the generated files of package schemagen into the module
// that holds the current directory's parent: go generate ./scenarios runs it.
package main

import (
	"fmt"
	"os"

	"capstan/internal/schemagen"
)

func main() {
	if err := schemagen.Write(".."); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}
