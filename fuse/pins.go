package fuse

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/google/renameio/v2"

	"capstan/core/stage"
)

// pinned is how long staged files stay that somebody has asked for.
const pinned = 24 * time.Hour

// claim is room that is kept for a file that will come, and be pinned.
type claim struct {
	bytes int64
	users int
}

// claimed is the room of one request.
type claimed struct {
	s    *staged
	keys []string
}

// claim pins the files of a request that are staged, and keeps room for the others until
// release: those that come are pinned. If all do not fit beside what is pinned and
// claimed already, none is.
func (s *staged) claim(files []stage.File) (*claimed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, c := time.Now(), &claimed{s: s}
	need := s.kept(now)
	seen := map[string]bool{}
	for _, f := range files {
		key := keyOf(f.Image, f.Path)
		switch el := s.files[key]; {
		case seen[key] || s.claims[key] != nil:
		case el == nil:
			need += f.Bytes
		case !el.Value.(*stagedFile).kept(now):
			need += el.Value.(*stagedFile).size
		}
		seen[key] = true
	}
	if need > s.limit {
		return nil, fmt.Errorf("with what is kept for a day they are %d bytes; the staging directory holds %d", need, s.limit)
	}
	for _, f := range files {
		key := keyOf(f.Image, f.Path)
		switch el, other := s.files[key], s.claims[key]; {
		case !seen[key] || f.Bytes == 0:
			continue
		case el != nil:
			el.Value.(*stagedFile).pinned = now.Add(pinned)
			continue
		case other != nil:
			other.users++
		default:
			s.claims[key] = &claim{bytes: f.Bytes, users: 1}
		}
		delete(seen, key)
		c.keys = append(c.keys, key)
	}
	return c, nil
}

// release gives back what is claimed still. What is pinned then is so for the next mount,
// too.
func (c *claimed) release() error {
	c.giveBack()
	return c.s.savePins()
}

func (c *claimed) giveBack() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, key := range c.keys {
		if o := c.s.claims[key]; o.users > 1 {
			o.users--
		} else {
			delete(c.s.claims, key)
		}
	}
}

// kept is how many bytes are pinned, or claimed.
func (s *staged) kept(now time.Time) (bytes int64) {
	for key, c := range s.claims {
		if s.files[key] == nil {
			bytes += c.bytes
		}
	}
	for _, el := range s.files {
		if f := el.Value.(*stagedFile); f.kept(now) {
			bytes += f.size
		}
	}
	return bytes
}

// kept tells whether a file is pinned, for longer than it takes to open it.
func (f *stagedFile) kept(now time.Time) bool { return f.pinned.Sub(now) > grace }

// The file of pins has a line for each: the name of the staged file, and the second until
// which it stays. Neither file nor line is long, or it is none of ours.
const (
	pinsFile = "pins"
	maxPins  = 1_000_000
)

// savePins writes down what is pinned. Whoever reads finds all of it, or what was before.
func (s *staged) savePins() error {
	s.saving.Lock()
	defer s.saving.Unlock()
	at := filepath.Join(filepath.Dir(s.dir), pinsFile)
	if err := replaceFile(at, s.pins(time.Now())); err != nil {
		return fmt.Errorf("what is to stay for a day will not outlast this mount: %w", err)
	}
	return nil
}

// pins is the file's contents, the longest first.
func (s *staged) pins(now time.Time) []byte {
	s.mu.Lock()
	var all []stagedFile
	for _, el := range s.files {
		if f := el.Value.(*stagedFile); f.kept(now) {
			all = append(all, *f)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b stagedFile) int { return cmp.Or(b.pinned.Compare(a.pinned), cmp.Compare(a.key, b.key)) })
	var b bytes.Buffer
	for _, f := range all[:min(len(all), maxPins)] {
		fmt.Fprintf(&b, "%s %d\n", f.key, f.pinned.Unix())
	}
	return b.Bytes()
}

// replaceFile puts contents durably in the place of a file of the staging directory. It
// writes them where the next mount removes what a killed one has left.
func replaceFile(at string, contents []byte) error {
	staging := filepath.Dir(at)
	if err := renameio.WriteFile(at, contents, 0o600, renameio.WithTempDir(filepath.Join(staging, "jobs"))); err != nil {
		return err
	}
	dir, err := os.Open(staging)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close()) // renameio leaves the name to the system
}

// readPins reads the file of pins, if there is one. With an error comes what could be
// read.
func readPins(dir string, now time.Time) (map[string]time.Time, error) {
	f, err := os.Open(filepath.Join(dir, pinsFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pins, err := parsePins(f, now)
	if err != nil {
		err = fmt.Errorf("%s: %w", f.Name(), err)
	}
	return pins, err
}

// parsePins reads pins up to the first line that is none. No pin is longer than those
// that are made now: a clock may have been wrong.
func parsePins(r io.Reader, now time.Time) (map[string]time.Time, error) {
	pins := map[string]time.Time{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 100)
	for n := 1; lines.Scan(); n++ {
		key, second, _ := bytes.Cut(lines.Bytes(), []byte(" "))
		until, err := strconv.ParseInt(string(second), 10, 64)
		if raw, herr := hex.DecodeString(string(key)); err != nil || herr != nil || len(raw) != keySize || n > maxPins {
			return pins, fmt.Errorf("line %d is no pin: %q", n, lines.Bytes())
		}
		if until > now.Unix() {
			pins[string(key)] = now.Add(time.Duration(min(until-now.Unix(), int64(pinned/time.Second))) * time.Second)
		}
	}
	return pins, lines.Err()
}
