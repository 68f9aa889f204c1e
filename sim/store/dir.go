package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"

	"capstan/core/rt"
	"capstan/core/store"
)

// Dir is a directory of files in memory, with the promises of a real disk and no
// more: what was not synced may be lost, or half there, after [Dir.Crash]. One
// thread runs the virtual world: it needs no lock.
type Dir struct {
	rnd      *rand.Rand
	capacity int64
	used     int64 // by files that have a name
	boot     int   // crashes so far: a file opened before one is dead
	now      space
	durable  space
	pending  []nameOp        // what turns durable into now, in order
	names    map[string]bool // that the changes due at a Sync concern
	dirs     map[string]bool
	kids     map[string]map[string]bool // of each directory: names, with "/" those of directories
}

// space is which file has which name.
type space map[string]*inode

// nameOp is a change of names: from has the file no more, to has it. Either may be "".
type nameOp struct {
	from, to string
	n        *inode
	due      bool // at the Sync under way
}

func (o nameOp) apply(s space) {
	if o.from != "" {
		delete(s, o.from)
	}
	if o.to != "" {
		s[o.to] = o.n
	}
}

// NewDir makes an empty directory on a disk of capacity bytes; 0 is no limit.
// rnd decides what a crash leaves of what was not synced.
func NewDir(capacity int64, rnd *rand.Rand) *Dir {
	return &Dir{rnd: rnd, capacity: capacity, now: space{}, durable: space{}, names: map[string]bool{}, dirs: map[string]bool{}, kids: map[string]map[string]bool{}}
}

// Crash is what the end of the host does to its disk. Names change in order, as
// a journal writes them: some first part of the changes that were not synced
// survives. Writes survive whole, in part or not, each for itself. Files that
// were open are dead.
func (d *Dir) Crash() {
	d.boot++
	for _, o := range d.pending[:d.rnd.IntN(len(d.pending)+1)] {
		o.apply(d.durable)
	}
	for name := range d.now {
		d.unlist(name, "")
	}
	d.pending, d.now, d.used = nil, space{}, 0
	names := make([]string, 0, len(d.durable))
	for name := range d.durable {
		names = append(names, name)
	}
	slices.Sort(names) // what chance does is the same for one seed
	for _, name := range names {
		n := d.durable[name]
		n.crash(d.rnd)
		n.gone = false
		d.now[name] = n
		d.enlist(name, "")
		d.used += n.now.held()
	}
}

// SetCapacity changes the size of the disk; 0 is no limit.
func (d *Dir) SetCapacity(capacity int64) {
	d.capacity = capacity
}

func (d *Dir) fail(op, name string, err error) error {
	return fmt.Errorf("%s %s: %w", op, name, err)
}

var errNoFile = fmt.Errorf("%w: %w", store.ErrNotFound, fs.ErrNotExist)

// begin checks that the caller's process lives, and the names.
func (d *Dir) begin(ctx context.Context, op string, names ...string) error {
	rt.Current(ctx).Check()
	for _, name := range names {
		if err := store.CheckName(name); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	return nil
}

func (d *Dir) rename(o nameOp) {
	drop := d.now[o.to] // what loses its name
	if o.to == "" {
		drop = d.now[o.from]
	}
	if drop != nil {
		d.used -= drop.now.held()
		drop.gone = true
	}
	if o.from != "" {
		d.unlist(o.from, "")
	}
	if o.to != "" {
		d.enlist(o.to, "")
	}
	o.apply(d.now)
	d.pending = append(d.pending, o)
}

// make makes the directories above name, durably; a file among them is an error.
func (d *Dir) make(op, name string) error {
	if d.dirs[name] {
		return d.fail(op, name, errors.New("is a directory"))
	}
	if above, _ := split(name); d.dirs[above] {
		return nil // and those above it are there, too
	}
	for i, c := range []byte(name) {
		if c == '/' && d.now[name[:i]] != nil {
			return d.fail(op, name, errors.New("not a directory: "+name[:i]))
		}
	}
	for i, c := range []byte(name) {
		if c == '/' {
			d.dirs[name[:i]] = true
			d.enlist(name[:i], "/")
		}
	}
	return nil
}

// enlist adds a name to its directory's list; mark is "/" for a directory.
func (d *Dir) enlist(name, mark string) {
	dir, base := split(name)
	if d.kids[dir] == nil {
		d.kids[dir] = map[string]bool{}
	}
	d.kids[dir][base+mark] = true
}

func (d *Dir) unlist(name, mark string) {
	dir, base := split(name)
	kids := d.kids[dir]
	if delete(kids, base+mark); len(kids) == 0 {
		delete(d.kids, dir) // empty directories stay, and there are many in the long run
	}
}

// Create implements [store.Dir].
func (d *Dir) Create(ctx context.Context, name string) (store.File, error) {
	if err := d.begin(ctx, "create", name); err != nil {
		return nil, err
	}
	n := d.now[name]
	if n == nil {
		if err := d.make("create", name); err != nil {
			return nil, err
		}
		n = &inode{}
		d.rename(nameOp{to: name, n: n})
	} else if n.now.size > 0 {
		d.used -= n.now.held()
		n.change(fileOp{truncate: true})
	}
	return &file{d: d, n: n, name: name, boot: d.boot}, nil
}

// Open implements [store.Dir].
func (d *Dir) Open(ctx context.Context, name string) (store.File, error) {
	if err := d.begin(ctx, "open", name); err != nil {
		return nil, err
	}
	n := d.now[name]
	if n == nil {
		return nil, d.fail("open", name, errNoFile)
	}
	return &file{d: d, n: n, name: name, boot: d.boot}, nil
}

// Rename implements [store.Dir].
func (d *Dir) Rename(ctx context.Context, old, name string) error {
	if err := d.begin(ctx, "rename", old, name); err != nil {
		return err
	}
	n := d.now[old]
	if n == nil {
		return d.fail("rename", old, errNoFile)
	}
	if old == name {
		return nil
	}
	if err := d.make("rename", name); err != nil {
		return err
	}
	d.rename(nameOp{from: old, to: name, n: n})
	return nil
}

// Remove implements [store.Dir].
func (d *Dir) Remove(ctx context.Context, name string) error {
	if err := d.begin(ctx, "remove", name); err != nil {
		return err
	}
	if d.dirs[name] {
		if len(d.kids[name]) > 0 {
			return d.fail("remove", name, errors.New("directory not empty"))
		}
		delete(d.dirs, name)
		delete(d.kids, name)
		d.unlist(name, "/")
		return nil
	}
	if d.now[name] == nil {
		return d.fail("remove", name, errNoFile)
	}
	d.rename(nameOp{from: name})
	return nil
}

// List implements [store.Dir].
func (d *Dir) List(ctx context.Context, dir string) ([]string, error) {
	if err := d.begin(ctx, "list", checkable(dir)...); err != nil {
		return nil, err
	}
	return d.list(dir), nil
}

// checkable leaves out the name of the top, which only List and Sync take.
func checkable(dir string) []string {
	if dir == "" {
		return nil
	}
	return []string{dir}
}

func (d *Dir) list(dir string) []string {
	var names []string
	for name := range d.kids[dir] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func split(name string) (dir, base string) {
	i := strings.LastIndexByte(name, '/')
	return name[:max(i, 0)], name[i+1:]
}

// Sync implements [store.Dir]. Only changes of that directory, and those they
// rest on, become durable: a journal would take all earlier ones along, but
// nobody may rely on it.
func (d *Dir) Sync(ctx context.Context, dir string) error {
	if err := d.begin(ctx, "sync", checkable(dir)...); err != nil {
		return err
	}
	clear(d.names)
	for i := len(d.pending) - 1; i >= 0; i-- {
		o := &d.pending[i]
		o.due = o.in(dir) || d.names[o.from] || d.names[o.to]
		if o.due {
			d.names[o.from], d.names[o.to] = true, true
			delete(d.names, "") // no name
		}
	}
	rest := d.pending[:0]
	for _, o := range d.pending {
		if o.due {
			o.apply(d.durable)
		} else {
			rest = append(rest, o)
		}
	}
	clear(d.pending[len(rest):])
	d.pending = rest
	return nil
}

func (o nameOp) in(dir string) bool {
	from, _ := split(o.from)
	to, _ := split(o.to)
	return o.from != "" && from == dir || o.to != "" && to == dir
}

// Free implements [store.Dir].
func (d *Dir) Free(ctx context.Context) (int64, error) {
	if err := d.begin(ctx, "free"); err != nil {
		return 0, err
	}
	if d.capacity == 0 {
		return 1 << 62, nil
	}
	return max(d.capacity-d.used, 0), nil
}
