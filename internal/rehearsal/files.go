package rehearsal

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"capstan/scenarios"
)

// Bounds of what is generated for all clients together.
const (
	maxBytes = 64 << 20
	maxFiles = 400
)

// generate makes the files of all clients, each under its own root, with bytes
// drawn from the scenario's seed. All are on one machine: clients with the same
// root share its files, and a backup of "/" has them all.
func (r *rehearsal) generate() error {
	r.data = map[string]scenarios.Data{}
	roots := map[string]scaled{}
	var order []string
	total := scaled{}
	for _, c := range r.s.EachClient() {
		if _, known := roots[c.Data.Root]; known {
			continue
		}
		one := scaled{files: float64(c.Data.Files), bytes: float64(c.Data.Bytes)}
		roots[c.Data.Root] = one
		order = append(order, c.Data.Root)
		total.files, total.bytes = total.files+one.files, total.bytes+one.bytes
	}
	files, bytes := min(1, maxFiles/total.files), min(1, maxBytes/max(total.bytes, 1))
	for i, root := range order {
		n := max(1, int(roots[root].files*files))
		rnd := rand.New(rand.NewPCG(uint64(r.s.Seed), uint64(i)))
		size, err := fill(filepath.Join(r.tree, root), n, int64(roots[root].bytes*bytes)/int64(n), rnd)
		if err != nil {
			return err
		}
		r.data[root] = scenarios.Data{Files: int64(n), Bytes: scenarios.Size(size), Root: root}
	}
	return nil
}

// scaled is how much a client has.
type scaled struct{ files, bytes float64 }

// fill makes n files of about size bytes each, ten to a directory. It returns what
// they hold together.
func fill(dir string, n int, size int64, rnd *rand.Rand) (total int64, err error) {
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprintf("dir%03d", i/10))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return 0, err
		}
		b := make([]byte, size/2+rnd.Int64N(size/2+1))
		for k := 0; k+8 <= len(b); k += 8 {
			binary.LittleEndian.PutUint64(b[k:], rnd.Uint64())
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("file%d", i)), b, 0o644); err != nil {
			return 0, err
		}
		total += int64(len(b))
	}
	return total, nil
}
