package scenarios

import (
	"embed"
	"fmt"
)

//go:embed schema/*.json
var schemas embed.FS

// Schema is the JSON Schema of a kind of file: host, policy, library, scenario or sweep.
func Schema(kind string) ([]byte, error) {
	b, err := schemas.ReadFile("schema/" + kind + ".json")
	if err != nil {
		return nil, fmt.Errorf("there is no schema of %q; expected host, policy, library, scenario or sweep: %w", kind, err)
	}
	return b, nil
}
