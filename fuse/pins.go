package fuse

import (
	"fmt"
	"time"

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

// release gives back what is claimed still.
func (c *claimed) release() {
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
