package archive

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"capstan/core/archive/pax"
	"capstan/core/catalog"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/stream"
	"capstan/core/tree"
)

// Mode says what becomes of a file that exists already.
type Mode uint8

// The modes of overwriting.
const (
	Never  Mode = iota // it is kept
	Older              // it is kept unless it is older than the copy
	Always             // it is replaced
)

// WriteOptions say where and how to restore.
type WriteOptions struct {
	// Target is the absolute directory that takes the place of StripTo; "" is "/".
	// It is made if it does not exist.
	Target string `json:"target"`
	// StripTo is the absolute directory, on the client that was backed up, whose
	// contents go to Target; "" is "/". What is not beneath it is refused.
	StripTo string `json:"stripTo"`
	// As gives members another name: of a file of which only a later hard link was
	// asked for, the data stands under the first name.
	As        map[string]string `json:"-"` // there may be very many
	Overwrite Mode              `json:"overwrite"`
	// Owner gives files their owner, group, setuid and setgid bits; else they
	// belong to whoever restores.
	Owner bool `json:"owner"`
	// Volatile leaves it to the system when new files become durable: for who can have
	// them restored again. A file that takes the place of another is durable before.
	Volatile bool `json:"volatile,omitempty"`
}

// Writer is the sink of a restore: it takes the members of an image, all or some,
// and writes their files. It trusts nothing that the image says: every path goes
// component by component from the target's handle, no link on the way is
// followed, and a file appears under its name only when it is complete. All is
// durable when Put of the End frame has returned, unless it is to be volatile.
type Writer struct {
	fs     tree.FS
	opt    WriteOptions
	report func(Problem)
	stats  Stats
	root   *handles
	parse  parser
	ctx    context.Context // of the Put that is running

	cur    *restoring      // the member whose data comes
	hollow []catalog.Entry // hollow members whose data is still to come
	run    *hollowRun      // the one whose data comes
	dirs   []dirMeta       // metadata to be set at the end
	mounts []mount         // the file systems written to
	temp   int             // number of the last temporary name
	closed bool
}

// NewWriter opens the target. report is called from within Put.
func NewWriter(ctx context.Context, fs tree.FS, opt WriteOptions, report func(Problem)) (*Writer, error) {
	for _, p := range []*string{&opt.Target, &opt.StripTo} {
		if *p == "" {
			*p = "/"
		}
		if !strings.HasPrefix(*p, "/") {
			return nil, status.Errorf(status.BadParameter, "the restore's target or prefix is %q: write an absolute path", *p)
		}
		*p = path.Clean(*p)
	}
	w := &Writer{fs: fs, opt: opt, report: report}
	w.parse.h = w
	dir, err := openTarget(ctx, fs, opt.Target)
	if err != nil {
		return nil, status.Errorf(status.FileOpen, "the restore's target %s: %w", opt.Target, err)
	}
	w.root = &handles{root: dir}
	return w, nil
}

// openTarget opens a directory, making what is missing of its path.
func openTarget(ctx context.Context, fs tree.FS, p string) (tree.Dir, error) {
	dir, err := fs.Open(ctx, p)
	if err == nil || p == "/" || !errors.Is(err, tree.ErrNotExist) {
		return dir, err
	}
	parent, err := openTarget(ctx, fs, path.Dir(p))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	if err := parent.Mkdir(ctx, path.Base(p), 0o755); err != nil && !errors.Is(err, tree.ErrExist) {
		return nil, err
	}
	return parent.OpenDir(ctx, path.Base(p))
}

// Done is what has been restored so far.
func (w *Writer) Done() Stats { return w.stats }

// Close gives up a restore that did not come to its End frame: what was half
// written is removed. After the End frame it does nothing.
func (w *Writer) Close(ctx context.Context) {
	if w.closed {
		return
	}
	w.closed = true
	w.abandon(ctx)
	w.root.close()
}

// abandon removes the file that is half written.
func (w *Writer) abandon(ctx context.Context) {
	if w.cur != nil {
		w.cur.abandon(ctx)
	}
	if w.run != nil && w.run.file != nil {
		w.run.file.abandon(ctx)
	}
	w.cur, w.run = nil, nil
}

// Put takes the next frame. A file that cannot be written is reported and
// skipped; an error means that the stream is no archive, or that ctx ended.
func (w *Writer) Put(ctx context.Context, f *stream.Frame) error {
	if ctx.Err() != nil {
		w.Close(rt.WithoutCancel(ctx))
		return rt.Cause(ctx)
	}
	w.ctx = ctx
	switch {
	case f.Kind == stream.Member:
		for _, e := range f.Entries {
			if e.Count > 0 {
				w.hollow = append(w.hollow, e)
			}
		}
		return nil
	case f.Hollow():
		w.stats.Bytes += f.Len
		return w.putHollow(ctx, f.Len)
	case f.Kind == stream.Data:
		w.stats.Bytes += f.Len
		if err := w.parse.feed(f.Bytes); err != nil {
			w.Close(rt.WithoutCancel(ctx))
			return status.Errorf(status.TarError, "the data to be restored: %w", err)
		}
		return nil
	case f.Kind == stream.End:
		return w.finish(ctx)
	}
	return fmt.Errorf("frame of unknown kind %d", f.Kind)
}

// finish ends the restore: directories get their attributes last, the deepest
// first, since writing into one changes its times.
func (w *Writer) finish(ctx context.Context) error {
	if !w.parse.whole() || w.run != nil || len(w.hollow) > 0 {
		w.problem(w.unfinished(), Incomplete, nil)
	}
	w.abandon(ctx)
	w.finishDirs(ctx)
	err := w.syncMounts(ctx)
	w.root.close()
	w.closed = true
	return err
}

func (w *Writer) unfinished() string {
	switch {
	case w.cur != nil:
		return w.cur.path
	case w.run != nil:
		return w.run.entry.Path
	case len(w.hollow) > 0:
		return w.hollow[0].Path
	}
	return w.opt.Target
}

func (w *Writer) problem(path, what string, err error) {
	w.stats.Problems++
	w.report(Problem{Path: path, Err: err, What: what})
}

// place is where a member goes: components beneath the target.
func (w *Writer) place(name string) (rel string, ok bool) {
	p, ok := cleanName(name)
	if as := w.opt.As[p]; as != "" {
		p, ok = cleanName(as)
	}
	if !ok || !beneath(p, w.opt.StripTo) {
		return "", false
	}
	return strings.Trim(strings.TrimPrefix(p, strings.TrimSuffix(w.opt.StripTo, "/")), "/"), true
}

// begin is the parser's: a member's headers are complete.
func (w *Writer) begin(h *parsed) error {
	full := path.Join("/", h.Name)
	rel, ok := w.place(h.Name)
	if !ok {
		w.problem(full, Refused, nil)
		return nil
	}
	if err := w.make(h, full, rel); err != nil {
		if w.ctx.Err() != nil {
			return rt.Cause(w.ctx)
		}
		what := NotWritten
		if errors.Is(err, tree.ErrNotDir) {
			err = fmt.Errorf("%w; a link on the way is not followed", err)
		}
		w.problem(full, what, err)
	}
	return nil
}

// data is the parser's: bytes of the member's file.
func (w *Writer) data(p []byte, offset int64) error {
	if w.cur == nil {
		return nil
	}
	if w.ctx.Err() != nil {
		return rt.Cause(w.ctx)
	}
	if _, err := w.cur.file.WriteAt(p, offset); err != nil {
		w.problem(w.cur.path, NotWritten, err)
		w.cur.abandon(w.ctx)
		w.cur = nil
		return nil
	}
	w.cur.end = max(w.cur.end, offset+int64(len(p)))
	return nil
}

// end is the parser's: all of the member's data came.
func (w *Writer) end() error {
	if w.cur != nil {
		c := w.cur
		w.cur = nil
		w.complete(c)
	}
	return nil
}

// make makes what a member stands for; a regular file is begun.
func (w *Writer) make(h *parsed, full, rel string) error {
	xs, err := xattrs(h.Records)
	if err != nil {
		w.problem(full, NoMetadata, err)
	}
	info := tree.Info{
		Type: catalog.Type(h.Type), Mode: h.Mode, UID: h.UID, GID: h.GID, Size: h.FileSize,
		MTime: h.MTime, Major: h.Major, Minor: h.Minor,
	}
	if info.Type == catalog.Directory {
		return w.makeDir(full, rel, info, xs)
	}
	r, err := w.start(full, rel, info, xs)
	if err != nil || r == nil {
		return err
	}
	switch info.Type {
	case catalog.Regular:
		if r.file, err = r.dir.Create(w.ctx, r.temp, 0o600); err == nil {
			w.cur = r
		}
		return err
	case catalog.Symlink:
		err = r.dir.Symlink(w.ctx, h.Link, r.temp)
	case catalog.HardLink:
		err = w.link(r, h.Link)
	case catalog.CharDev, catalog.BlockDev, catalog.FIFO:
		err = r.dir.Mknod(w.ctx, r.temp, info)
	default:
		return fmt.Errorf("%w: it is of type %q", pax.ErrHeader, h.Type)
	}
	if err != nil {
		return err
	}
	w.complete(r)
	return nil
}

var _ stream.Sink = (*Writer)(nil)
