package scenarios

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Sweep is a scenario that is run with all combinations of some values, each a
// number of times.
type Sweep struct {
	// The name, which reports show.
	Name string `yaml:"name" need:"yes" is:"name" ex:"how-many-drives"`
	// The scenario's file. Its path is seen from this file.
	Scenario string `yaml:"scenario" need:"yes" ex:"plan-night.yaml"`
	// How many times each combination is run, with the same seeds. Default: as the scenario says.
	Replications int `yaml:"replications,omitempty" max:"10000" ex:"10"`
	// The seed of the first time; the others have the ones after it. Default: the scenario's.
	Seed int64 `yaml:"seed,omitempty" ex:"1"`
	// What is varied.
	Parameters []Parameter `yaml:"parameters" need:"yes"`
	// The figures that are shown, by the beginning of their names. Default: the most telling ones; "" is all.
	Show []string `yaml:"show,omitempty" ex:"[backups inside, mounts]"`
}

// Parameter is a field of a scenario, and the values that it has in turn.
type Parameter struct {
	// The field's path in the scenario's file; an element of a list is told by its number from 0, or by its name.
	Path string `yaml:"path" need:"yes" ex:"libraries[0].drives[0].count"`
	// Fields that have the same value, too.
	Also []string `yaml:"also,omitempty" ex:"['libraries[1].drives[0].count']"`
	// What it is called in tables. Default: the path.
	Title string `yaml:"title,omitempty" ex:"drives"`
	// The values, each as it would stand in the file.
	Values []Value `yaml:"values" need:"yes" ex:"[2, 4, 8]"`
}

// sweep checks a sweep, and makes the scenario's path one that can be opened.
func (r *reader) sweep(s *Sweep) {
	seen := map[string]bool{}
	for i, p := range s.Parameters {
		for _, path := range append([]string{p.Path}, p.Also...) {
			if !wholePath(path) {
				r.say(fmt.Sprintf("parameters[%d].path", i), "%q is no path of a field; expected one such as libraries[0].drives[0].count", path)
			} else if seen[path] {
				r.say(fmt.Sprintf("parameters[%d].path", i), "%q is varied already; expected another", path)
			}
			seen[path] = true
		}
	}
	if s.Scenario != "" {
		s.Scenario = filepath.Clean(r.beside(s.Scenario))
	}
}

func wholePath(path string) bool {
	for rest := path; rest != ""; {
		m := pathStep.FindString(rest)
		if m == "" {
			return false
		}
		rest = rest[len(m):]
	}
	return path != "" && !strings.HasSuffix(path, ".")
}
