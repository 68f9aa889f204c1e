package stage

import (
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

// Listed notes that a process has listed a directory.
func (k *Looks) Listed(now time.Duration, process, dir string) {
	k.lock.Lock()
	defer k.lock.Unlock()
	note(k.listed, look{process, dir}, now)
}

// Opened notes that a file of a directory was opened by a process of a user. It tells
// whether the directory's other files should be fetched too: the process has listed it
// before, or it is the second file that the user opens in it.
func (k *Looks) Opened(now time.Duration, process, user, dir string) bool {
	k.lock.Lock()
	defer k.lock.Unlock()
	own := look{user, dir}
	at, again := k.opened[own]
	note(k.opened, own, now)
	listed, did := k.listed[look{process, dir}]
	return did && now-listed < memory || again && now-at < memory
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
