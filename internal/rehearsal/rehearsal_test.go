package rehearsal

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/scenarios"
)

// Whatever the real world cannot play is refused, and named.
func TestRefuses(t *testing.T) {
	for file, says := range map[string]string{
		"first-night": "", "client-vanishes": "", "media-server-killed": "", "busy-night": "20 clients",
		"no-cartridge-left": "cartridges would not become full", "tape-full-mid-file": "cartridges would not become full",
		"window-too-short": "window that closes",
	} {
		s := read(t, file)
		if why := Refuses(s); (why == "") != (says == "") || !strings.Contains(why, says) {
			t.Errorf("%s: %q, want %q", file, why, says)
		}
	}
	for says, change := range map[string]func(s *scenarios.Scenario){
		"2 media servers": func(s *scenarios.Scenario) { s.MediaServers = append(s.MediaServers, s.MediaServers[0]) },
		"0 libraries":     func(s *scenarios.Scenario) { s.Libraries = nil },
		"fault heal":      func(s *scenarios.Scenario) { s.Faults = []scenarios.Fault{{Do: "heal", Target: "web1"}} },
		"of the master":   func(s *scenarios.Scenario) { s.Faults = []scenarios.Fault{{Do: "crash", Target: "master"}} },
	} {
		s := read(t, "first-night")
		change(s)
		if why := Refuses(s); !strings.Contains(why, says) {
			t.Errorf("%q, want %q", why, says)
		}
	}
}

func read(t *testing.T, name string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Read[scenarios.Scenario]("../../scenarios/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The files of a scenario are there under each client's root, within bounds, and
// the same for the same seed.
func TestGenerate(t *testing.T) {
	sums := make([]map[string]int64, 2)
	for i := range sums {
		r := &rehearsal{s: read(t, "first-night"), tree: t.TempDir()}
		if err := r.generate(); err != nil {
			t.Fatal(err)
		}
		sums[i] = map[string]int64{}
		total, files := int64(0), 0
		for _, root := range []string{"home", "srv", "dumps"} {
			err := filepath.WalkDir(filepath.Join(r.tree, root), func(path string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() {
					return err
				}
				info, err := os.Stat(path)
				if err == nil {
					sums[i][strings.TrimPrefix(path, r.tree)] = info.Size()
					total += info.Size()
					files++
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
		if total > maxBytes || total < maxBytes/2 || files > maxFiles || files < maxFiles/2 {
			t.Errorf("%d files of %d bytes", files, total)
		}
	}
	for name, size := range sums[0] {
		if sums[1][name] != size {
			t.Errorf("%s has %d bytes, and then %d", name, size, sums[1][name])
		}
	}
}
