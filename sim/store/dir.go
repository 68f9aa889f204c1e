package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
	used     int64              // by files that have a name
	boot     int                // crashes so far: a file opened before one is dead
	folders  map[string]*folder // by their names, the top's being ""
	pending  []nameOp           // what turns durable into now, in order
	due      []spot             // that the changes due at a Sync concern
}

// folder is a directory: its files as they are now, and as a crash leaves them for
// certain, and the directories in it, which are made and removed durably.
type folder struct {
	name         string
	now, durable space
	folders      map[string]bool
}

// space is which file has which name in a directory. It is nil when it is empty: empty
// directories stay, and there are many in the long run.
type space map[string]*inode

func (s *space) set(name string, n *inode) {
	if *s == nil {
		*s = space{}
	}
	(*s)[name] = n
}

func (s *space) drop(name string) {
	if delete(*s, name); len(*s) == 0 {
		*s = nil
	}
}

// spot is a name in a directory; in is nil for none.
type spot struct {
	in   *folder
	name string
}

func (p spot) file() *inode {
	if p.in == nil {
		return nil
	}
	return p.in.now[p.name]
}

// nameOp is a change of names: from has the file no more, to has it. Either may be none.
type nameOp struct {
	from, to spot
	n        *inode
	due      bool // at the Sync under way
}

// last makes the change durable.
func (o *nameOp) last() {
	if o.from.in != nil {
		o.from.in.durable.drop(o.from.name)
	}
	if o.to.in != nil {
		o.to.in.durable.set(o.to.name, o.n)
	}
}

// NewDir makes an empty directory on a disk of capacity bytes; 0 is no limit.
// rnd decides what a crash leaves of what was not synced.
func NewDir(capacity int64, rnd *rand.Rand) *Dir {
	return &Dir{rnd: rnd, capacity: capacity, folders: map[string]*folder{"": {}}}
}

// Crash is what the end of the host does to its disk. Names change in order, as
// a journal writes them: some first part of the changes that were not synced
// survives. Writes survive whole, in part or not, each for itself. Files that
// were open are dead.
func (d *Dir) Crash() {
	d.boot++
	for _, o := range d.pending[:d.rnd.IntN(len(d.pending)+1)] {
		o.last()
	}
	d.pending, d.used = nil, 0
	left := map[string]*inode{}
	for _, f := range d.folders {
		f.now = maps.Clone(f.durable)
		for name, n := range f.now {
			if f.name != "" {
				name = f.name + "/" + name
			}
			left[name] = n
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) { // what chance does is the same for one seed
		n := left[name]
		n.crash(d.rnd)
		n.gone = false
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
	drop := o.from // what loses its name
	if o.to.in != nil {
		drop = o.to
	}
	if n := drop.in.now[drop.name]; n != nil {
		d.used -= n.now.held()
		n.gone = true
	}
	if o.from.in != nil {
		o.from.in.now.drop(o.from.name)
	}
	if o.to.in != nil {
		o.to.in.now.set(o.to.name, o.n)
	}
	d.pending = append(d.pending, o)
}

// find gives the spot of a name; in is nil if there is no such directory.
func (d *Dir) find(name string) spot {
	above, base := split(name)
	return spot{d.folders[above], base}
}

// make is find for a file to be: it makes the directories above, durably. A file among
// them, or a directory of that name, is an error.
func (d *Dir) make(op, name string) (spot, error) {
	p := d.find(name)
	if p.in == nil {
		above, _ := split(name)
		up, err := d.make(op, above)
		if err != nil {
			return p, err
		}
		if up.in.now[up.name] != nil {
			return p, d.fail(op, name, errors.New("not a directory: "+above))
		}
		if up.in.folders == nil {
			up.in.folders = map[string]bool{}
		}
		up.in.folders[up.name] = true
		p.in = &folder{name: above}
		d.folders[above] = p.in
	}
	if p.in.folders[p.name] {
		return p, d.fail(op, name, errors.New("is a directory"))
	}
	return p, nil
}

// Create implements [store.Dir].
func (d *Dir) Create(ctx context.Context, name string) (store.File, error) {
	if err := d.begin(ctx, "create", name); err != nil {
		return nil, err
	}
	p, err := d.make("create", name)
	if err != nil {
		return nil, err
	}
	n := p.in.now[p.name]
	if n == nil {
		n = &inode{}
		d.rename(nameOp{to: p, n: n})
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
	n := d.find(name).file()
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
	from := d.find(old)
	n := from.file()
	if n == nil {
		return d.fail("rename", old, errNoFile)
	}
	if old == name {
		return nil
	}
	to, err := d.make("rename", name)
	if err != nil {
		return err
	}
	d.rename(nameOp{from: from, to: to, n: n})
	return nil
}

// Remove implements [store.Dir].
func (d *Dir) Remove(ctx context.Context, name string) error {
	if err := d.begin(ctx, "remove", name); err != nil {
		return err
	}
	if f := d.folders[name]; f != nil {
		if len(f.now)+len(f.folders) > 0 {
			return d.fail("remove", name, errors.New("directory not empty"))
		}
		d.sync(f) // nothing that was in it comes back
		above := d.find(name)
		delete(above.in.folders, above.name)
		delete(d.folders, name)
		return nil
	}
	p := d.find(name)
	if p.file() == nil {
		return d.fail("remove", name, errNoFile)
	}
	d.rename(nameOp{from: p})
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

// list gives the names in a directory, with "/" those of directories.
func (d *Dir) list(dir string) []string {
	f := d.folders[dir]
	if f == nil {
		return nil
	}
	var names []string
	for name := range f.now {
		names = append(names, name)
	}
	for name := range f.folders {
		names = append(names, name+"/")
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
	if f := d.folders[dir]; f != nil {
		d.sync(f)
	}
	return nil
}

func (d *Dir) sync(f *folder) {
	d.due = d.due[:0]
	for i := len(d.pending) - 1; i >= 0; i-- {
		o := &d.pending[i]
		o.due = o.from.in == f || o.to.in == f || slices.Contains(d.due, o.from) || slices.Contains(d.due, o.to)
		if !o.due {
			continue
		}
		for _, p := range []spot{o.from, o.to} {
			if p.in != nil {
				d.due = append(d.due, p)
			}
		}
	}
	rest := d.pending[:0]
	for _, o := range d.pending {
		if o.due {
			o.last()
		} else {
			rest = append(rest, o)
		}
	}
	clear(d.pending[len(rest):])
	d.pending = rest
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
