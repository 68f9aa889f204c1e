package stage

import (
	"path"
	"time"

	"capstan/core/rt"
)

// Looks tells, of one who opens files, whether he copies a directory. Copiers open one
// file at a time, so that what waits says nothing of what comes; but first they list.
type Looks struct {
	lock   rt.Lock
	listed map[look]time.Duration
	opened map[look]time.Duration
}

// look is a directory in the eyes of somebody.
type look struct{ who, dir string }

// memory is how long a look is remembered, remembered how many are.
const (
	memory     = 5 * time.Minute
	remembered = 4096
)

// NewLooks makes a memory of looks that uses lock.
func NewLooks(lock rt.Lock) *Looks {
	return &Looks{lock: lock, listed: map[look]time.Duration{}, opened: map[look]time.Duration{}}
}

// Listed notes that a process has listed a directory of a tree.
func (k *Looks) Listed(now time.Duration, process, tree, dir string) {
	k.lock.Lock()
	defer k.lock.Unlock()
	note(k.listed, look{process, tree + dir}, now)
}

// Opened notes that a file of a tree was opened by a process of a user. If he copies, dir
// is what he copies as far as can be told: the topmost of the directories above the file
// that the process has listed, or the file's own if it is the second that the user opens
// in it.
func (k *Looks) Opened(now time.Duration, process, user, tree, file string) (dir string, copies bool) {
	k.lock.Lock()
	defer k.lock.Unlock()
	own := path.Dir(file)
	at, again := k.opened[look{user, tree + own}]
	note(k.opened, look{user, tree + own}, now)
	for d := own; ; d = path.Dir(d) {
		if listed, did := k.listed[look{process, tree + d}]; !did || now-listed >= memory {
			break
		}
		dir, copies = d, true
		if d == "/" {
			break
		}
	}
	if !copies && again && now-at < memory {
		return own, true
	}
	return dir, copies
}

// note keeps a bounded number of looks: if there are too many, the old ones go, and if
// none is old all of them, which costs a look-ahead at most.
func note(m map[look]time.Duration, l look, now time.Duration) {
	if len(m) >= remembered {
		for k, at := range m { //capstan:unordered each by itself
			if now-at >= memory {
				delete(m, k)
			}
		}
		if len(m) >= remembered {
			clear(m)
		}
	}
	m[l] = now
}
