package tree

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"time"

	"capstan/core/catalog"
	"capstan/core/rt"
	seam "capstan/core/tree"
)

// Day is what a living tree holds on a day, and what of that has changed since the
// day before.
type Day struct {
	Files, Bytes               int64
	ChangedFiles, ChangedBytes int64
}

// Living is a hollow tree that is another one each day.
type Living struct {
	// Begins is when day 1 begins; before it is day 0, on which nothing has changed.
	// The others follow after 24 hours each. A day's change happens as it begins.
	Begins rt.Time
	// Day says what there is on a day.
	Day func(n int) Day
}

// Of a living tree, so many entries stand for the files that have not changed lately,
// and so many for those that changed on one of the last days: one for each of these,
// and one for what changed in the month before them. So a backup costs as much
// whatever the tree stands for, and an incremental one finds what changed since the
// last, also if some were missed.
const (
	restEntries = 8
	lastDays    = 7
	monthDays   = 30
)

// AddLiving fills a directory, which is made if it does not exist, with a living
// tree; how its size is shared out among entries is drawn from r. Who has opened the
// directory sees the day on which he did. What is put into it is gone the next day.
func (fs *FS) AddLiving(ctx context.Context, p string, l Living, r *rand.Rand) error {
	d, err := fs.makeAll(ctx, p)
	if err != nil {
		return err
	}
	fs.lives++
	life := &living{Living: l, day: -1, inodes: fs.lives << 32}
	for range restEntries {
		life.weights = append(life.weights, 1+r.Int64N(1000))
	}
	d.n.living = life
	life.made = d.n.info.MTime
	_, err = life.on(d.n, fs.now(ctx))
	return err
}

// living is the life of a directory.
type living struct {
	Living
	made    rt.Time
	weights []int64
	day     int
	now     *node  // the directory as it is on that day
	inodes  uint64 // of its entries, which keep theirs as long as they stay, come after this one
}

// Inodes of entries: of the one for the month, of those for what is old, and of those for
// the last days, in order of the days.
const (
	monthInode = 0
	restInode  = 1
	dayInode   = restInode + restEntries
)

// DayAt is the day of a time, if day 1 begins at another.
func DayAt(begins, now rt.Time) int {
	if now < begins {
		return 0
	}
	return 1 + int(now.Sub(begins)/(24*time.Hour))
}

// on is the directory as it is at a time.
func (l *living) on(n *node, now rt.Time) (*node, error) {
	day := DayAt(l.Begins, now)
	if day == l.day {
		return l.now, nil
	}
	d := l.Day(day)
	if d.Files < 1 || d.Bytes < 0 || d.Bytes > 1<<60 || d.Files > 1<<40 {
		return nil, fmt.Errorf("a living tree: %d files of %d bytes cannot be", d.Files, d.Bytes)
	}
	seen := *n
	changes := l.changes(day, d)
	seen.living, seen.children = nil, make(map[string]*node, len(n.children)+len(changes)+restEntries)
	maps.Copy(seen.children, n.children)
	rest := d
	room := make([]entry, len(changes)+restEntries)
	for i, c := range changes {
		l.entry(&seen, c, &room[i])
		rest.Files, rest.Bytes = rest.Files-c.files, rest.Bytes-c.bytes
	}
	files, bytes := parts(max(rest.Files, 0), l.weights), parts(max(rest.Bytes, 0), l.weights)
	for i := range restEntries {
		l.entry(&seen, change{restNames[i], restInode + uint64(i), l.made, files[i], bytes[i]}, &room[len(changes)+i])
	}
	l.day, l.now = day, &seen
	return l.now, nil
}

// restNames are the names of the entries for what is old.
var restNames = func() (names [restEntries]string) {
	for i := range names {
		names[i] = fmt.Sprintf("files-%02d", i)
	}
	return names
}()

// change is what was changed last on a day, or on some of them.
type change struct {
	name         string
	inode        uint64 // behind those of other trees
	at           rt.Time
	files, bytes int64
}

// changes are what changed on the last days, newest first: of a day's, what has not
// changed again since. Each day's files are taken as drawn without regard to those of
// the other days.
func (l *living) changes(day int, d Day) []change {
	all := make([]change, 0, lastDays+1)
	left := 1.0 // the part that has not changed since
	month := change{name: "changed-earlier", inode: monthInode, at: l.Begins.Add(time.Duration(day-lastDays-1) * 24 * time.Hour)}
	for k := 0; k < monthDays && day-k >= 1 && left > 1e-6; k++ {
		then := d
		if k > 0 {
			then = l.Day(day - k)
		}
		c := change{
			inode: dayInode + uint64(day-k), at: l.Begins.Add(time.Duration(day-k-1) * 24 * time.Hour),
			files: int64(float64(then.ChangedFiles) * left), bytes: int64(float64(then.ChangedBytes) * left),
		}
		left *= 1 - float64(then.ChangedBytes)/float64(max(then.Bytes, 1))
		switch {
		case k < lastDays:
			c.name = fmt.Sprintf("changed-%05d", day-k)
			all = append(all, c)
		default:
			month.files, month.bytes = month.files+c.files, month.bytes+c.bytes
		}
	}
	return bounded(append(all, month), d)
}

// bounded keeps changes within what there is, if it has become less.
func bounded(all []change, d Day) []change {
	files, bytes := d.Files, d.Bytes
	for i := range all {
		all[i].files, all[i].bytes = min(all[i].files, files), min(all[i].bytes, bytes)
		files, bytes = files-all[i].files, bytes-all[i].bytes
	}
	return all
}

// entry is a node and its data.
type entry struct {
	node
	piece [1]piece
}

// entry puts an entry into a directory, unless it stands for nothing. The day's directory
// has room for all of its own.
func (l *living) entry(dir *node, c change, n *entry) {
	if c.files == 0 && c.bytes == 0 {
		return
	}
	n.node = node{info: seam.Info{Type: catalog.Regular, Mode: 0o644, Dev: 1, Ino: l.inodes + c.inode, MTime: c.at, CTime: c.at}, nlink: 1}
	n.info.Files = max(c.files, 1)
	if c.bytes > 0 {
		n.piece[0].n = c.bytes
		n.data = data{size: c.bytes, pieces: n.piece[:]}
	}
	dir.children[c.name] = &n.node
}

// parts cuts total in proportion to weights; they add up to total exactly.
func parts(total int64, weights []int64) []int64 {
	sum := int64(0)
	for _, w := range weights {
		sum += w
	}
	out := make([]int64, len(weights))
	left := total
	for i, w := range weights {
		out[i] = total / sum * w
		left -= out[i]
	}
	out[0] += left
	return out
}

// Pick names files of a living tree that together hold about so many bytes of a full
// backup, or the tree itself if it holds no more.
func (fs *FS) Pick(ctx context.Context, p string, bytes int64) ([]string, error) {
	n, err := fs.resolve(p, maxLinks)
	if err == nil && n.living == nil {
		err = errors.New("it is no living tree")
	}
	if err != nil {
		return nil, fmt.Errorf("picking files of %s: %w", p, err)
	}
	today, err := fs.today(ctx, n)
	if err != nil {
		return nil, err
	}
	type sized struct {
		path string
		size int64
	}
	var all []sized
	// An entry's share of all, not what of it is old: that is less from day to day.
	whole := n.living.Day(n.living.day).Bytes
	if bytes >= whole {
		return []string{p}, nil
	}
	for i, size := range parts(whole, n.living.weights) {
		if name := restNames[i]; today.children[name] != nil {
			all = append(all, sized{path.Join(p, name), size})
		}
	}
	slices.SortStableFunc(all, func(a, b sized) int { return int(min(max(b.size-a.size, -1), 1)) })
	var names []string
	for i, f := range all {
		if f.size <= bytes || len(names) == 0 && i == len(all)-1 {
			names, bytes = append(names, f.path), bytes-f.size
		}
	}
	if len(names) == 0 {
		return []string{p}, nil
	}
	return names, nil
}

// SetHollow makes a directory hold hollow entries that stand for h, all new, in the
// place of what it held. Who has it open sees what there was.
func (fs *FS) SetHollow(ctx context.Context, p string, h Hollow, r *rand.Rand) error {
	d, err := fs.makeAll(ctx, path.Dir(p))
	if err != nil {
		return err
	}
	delete(d.n.children, path.Base(p))
	return fs.AddHollow(ctx, p, h, r)
}

// RemoveAll removes a file, or a directory and all in it, if it is there.
func (fs *FS) RemoveAll(ctx context.Context, p string) {
	if n, err := fs.resolve(path.Dir(p), maxLinks); err == nil && n.children != nil {
		d := &dir{fs: fs, n: n, path: path.Dir(p)}
		if was := n.children[path.Base(p)]; was != nil {
			d.drop(was)
			delete(n.children, path.Base(p))
			d.touch(ctx)
		}
	}
}
