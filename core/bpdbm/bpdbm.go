// Package bpdbm is the image database: for each image a Header file, text for
// people, and a Files (.f) file with an entry for each file.
//
// It is the far end of B6 (create both files), B11 (store what bpbkar says of
// the files), B15 (complete and verify them) and R2 (which images hold what is
// to be restored, and where they lie). Images that have expired leave it by the
// image cleanup.
package bpdbm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"capstan/core/catalog"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/media"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
)

// Service is the role's name on the master.
const Service = "bpdbm"

// Create asks for the files of a new image.
type Create struct {
	Start  job.Start `json:"start"`
	Server string    `json:"server"` // the media server that will write it
}

// Files is a batch of entries, in archive order. Seq counts the batches from 0.
type Files struct {
	BackupID string          `json:"backupId"`
	Seq      int64           `json:"seq"`
	Entries  []catalog.Entry `json:"entries"`
}

// Fragment reports a fragment that stands on its volume. A block table too long
// for a message comes in several, More set on all but the last.
type Fragment struct {
	BackupID string         `json:"backupId"`
	Fragment image.Fragment `json:"fragment"`
	Blocks   []byte         `json:"blocks"`
	More     bool           `json:"more"`
}

// Complete says what the image must add up to.
type Complete struct {
	BackupID string `json:"backupId"`
	Status   int    `json:"status"`
	Bytes    int64  `json:"bytes"`
	Files    int64  `json:"files"` // -1 if nobody knows: as many as there are entries
	// Began is when the client began to look at its files, by its own clock.
	Began rt.Time `json:"began"`
}

// Query asks for complete images, oldest first.
type Query struct {
	Client   string `json:"client,omitempty"`
	Policy   string `json:"policy,omitempty"`
	BackupID string `json:"backupId,omitempty"`
	Before   int64  `json:"before,omitempty"` // backup time at most; 0 is any
	After    string `json:"after,omitempty"`  // the last of the page before
	Limit    int    `json:"limit,omitempty"`
}

// Page is a part of the answer to a [Query].
type Page struct {
	Images []image.Header `json:"images"`
	More   bool           `json:"more"`
}

// Dir asks for the entries of one directory of an image, by name.
type Dir struct {
	BackupID string `json:"backupId"`
	Path     string `json:"path"`
	After    string `json:"after,omitempty"`
	Limit    int    `json:"limit,omitempty"`
	// Recursive asks for the whole tree below Path, After being a path then.
	Recursive bool `json:"recursive,omitempty"`
	// AsOf asks for what the image shows together with those that it builds on: the
	// client as it was then.
	AsOf bool `json:"asOf,omitempty"`
}

// Entries is a part of the answer to [Dir].
type Entries struct {
	Entries []catalog.Entry `json:"entries"`
	More    bool            `json:"more"`
}

// Blocks asks for the block table of a fragment, from a byte of its encoding.
type Blocks struct {
	BackupID string `json:"backupId"`
	Copy     int    `json:"copy"`
	Number   int    `json:"number"`
	From     int64  `json:"from"`
}

// BlocksPart is a part of a table's encoding.
type BlocksPart struct {
	Bytes []byte `json:"bytes"`
	More  bool   `json:"more"`
}

const anyone = pbx.Hosts | pbx.User

// The methods of bpdbm.
var (
	CreateImage   = pbx.Declare[Create, image.Header](Service, "CreateImage", pbx.Master, pbx.Step("B6", ""))
	AddFiles      = pbx.Declare[Files, struct{}](Service, "AddFiles", pbx.Media|pbx.Master, pbx.Step("B11", ""))
	AddFragment   = pbx.Declare[Fragment, struct{}](Service, "AddFragment", pbx.Media|pbx.Master)
	CompleteImage = pbx.Declare[Complete, image.Header](Service, "CompleteImage", pbx.Master, pbx.Step("B15", ""))
	AbortImage    = pbx.Declare[string, struct{}](Service, "AbortImage", pbx.Master)
	Images        = pbx.Declare[Query, Page](Service, "Images", anyone, pbx.Query())
	ListDir       = pbx.Declare[Dir, Entries](Service, "ListDir", anyone, pbx.Query())
	Find          = pbx.Declare[Search, Matches](Service, "Find", anyone, pbx.Query())
	Select        = pbx.Declare[Selection, Selected](Service, "Select", pbx.Master, pbx.Step("", "R2"), pbx.Query())
	AskBefore     = pbx.Declare[Before, Known](Service, "Before", pbx.Media|pbx.Master, pbx.Query())
	ReadFiles     = pbx.Declare[FilesRange, FilesPart](Service, "ReadFiles", anyone, pbx.Query())
	ReadBlocks    = pbx.Declare[Blocks, BlocksPart](Service, "ReadBlocks", pbx.Master|pbx.Media, pbx.Query())
)

// clock is the last backup time given to a client.
type clock struct {
	Client string
	Last   int64
}

var clockTable = store.Declare[string, clock]("image_clock", 1, store.StringKey, nil)

// Schemas are the tables of the role.
func Schemas() []*store.Schema {
	return []*store.Schema{image.Table.Schema(), clockTable.Schema(), expiring.Schema(), lastCleanup.Schema()}
}

// Server is the role.
type Server struct {
	db    store.DB
	dir   store.Dir // the image database's directory
	lock  rt.Lock
	dirs  *rt.Mutex // of who makes an image's directory, or removes it as it is empty
	open  map[string]*writing
	cache *catalog.Cache
	read  readers
	// selected are, by restore, those that have pages that were not asked for yet.
	selected map[int64]*selected

	master  string
	holders map[string][]int64 // of an image: the restores that need it
	holds   map[int64][]string // of a restore: the images that it needs
	leaving map[string]bool    // images that are being taken out of the catalog
}

// writing is an image that a backup is filling.
type writing struct {
	lock   *rt.Mutex
	writer *catalog.Writer
	next   int64 // batch of entries
	header image.Header
	blocks []byte // of the fragment that is coming in parts
	// chain is what the image builds on, the image last; nil until it is asked for.
	chain []image.Header
}

// cacheBytes is the memory for decoded blocks of .f files.
const cacheBytes = 64 << 20

// maxBlocks bounds a block table: that of a fragment of 16 TB in blocks of 256 KiB
// has 256 MB.
const maxBlocks = 512 << 20

// New makes the role on the master's database and image directory. It removes
// what a crash left of images that were being written.
func New(ctx context.Context, db store.DB, dir store.Dir) (*Server, error) {
	s := &Server{
		db: db, dir: dir, lock: rt.NewLock(ctx), dirs: rt.NewMutex(ctx), open: map[string]*writing{}, cache: catalog.NewCache(ctx, cacheBytes),
		holders: map[string][]int64{}, holds: map[int64][]string{}, selected: map[int64]*selected{}, leaving: map[string]bool{},
	}
	s.read.init(ctx)
	var left []image.Header
	err := db.View(ctx, func(tx store.Tx) error {
		left = nil
		return image.Table.All(tx, func(h image.Header) (bool, error) {
			if !h.Complete {
				left = append(left, h)
			}
			return true, nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("image database: %w", err)
	}
	for i := range left {
		if err := s.discard(ctx, &left[i]); err != nil {
			return nil, fmt.Errorf("image database: removing what is left of %s: %w", left[i].ID, err)
		}
	}
	return s, nil
}

// Mux is what the role answers.
func (s *Server) Mux(ctx context.Context, epoch uint64) *pbx.Mux {
	mux := pbx.NewMux(ctx, Service, epoch)
	pbx.Handle(mux, CreateImage, s.create)
	pbx.Handle(mux, BeginImport, s.beginImport)
	pbx.Handle(mux, AddFiles, s.addFiles)
	pbx.Handle(mux, AddFragment, s.addFragment)
	pbx.Handle(mux, CompleteImage, s.complete)
	pbx.Handle(mux, AbortImage, s.abort)
	pbx.Handle(mux, Images, s.images)
	pbx.Handle(mux, ListDir, s.listDir)
	pbx.Handle(mux, Find, s.find)
	pbx.Handle(mux, Select, s.selectEntries)
	pbx.Handle(mux, AskBefore, s.before)
	pbx.Handle(mux, ReadFiles, s.readFiles)
	pbx.Handle(mux, ReadBlocks, s.readBlocks)
	pbx.Handle(mux, Expire, s.expire)
	pbx.Handle(mux, Cleanup, func(ctx context.Context, _ pbx.Peer, _ struct{}) (Cleaned, error) {
		if err := s.believe(ctx); err != nil {
			return Cleaned{}, failed(err)
		}
		return s.cleanup(ctx)
	})
	pbx.Handle(mux, LetGo, s.letGo)
	return mux
}

func failed(err error) error {
	if status.Of(err, 0) != 0 {
		return err
	}
	return status.Errorf(status.Database, "image database: %w", err)
}

func (s *Server) create(ctx context.Context, _ pbx.Peer, q Create) (image.Header, error) {
	h := image.Header{
		Client: q.Start.Client, Policy: q.Start.Policy, Schedule: q.Start.Schedule, Type: q.Start.Type,
		Since: q.Start.Since, Paths: q.Start.Paths, Exclude: q.Start.Exclude, Job: q.Start.ID, Try: q.Start.Try, Server: q.Server, Expires: q.Start.Expires, Began: rt.Now(ctx),
	}
	err := s.db.Update(ctx, func(tx store.Tx) error {
		c, _, err := clockTable.Get(tx, h.Client)
		if err != nil {
			return err
		}
		h.Time = max(h.Began.Unix(), c.Last+1)
		h.ID = image.MakeID(h.Client, h.Time)
		if err := clockTable.Put(tx, h.Client, clock{h.Client, h.Time}); err != nil {
			return err
		}
		return image.Table.Put(tx, h.ID, h)
	})
	if err != nil {
		return h, failed(err)
	}
	if err := s.openFiles(ctx, &h); err != nil {
		return h, errors.Join(err, s.discard(ctx, &h)) // who asked does not learn its name
	}
	return h, nil
}

// openFiles creates both files of an image that is in the table.
func (s *Server) openFiles(ctx context.Context, h *image.Header) error {
	if err := s.beginHeader(ctx, h); err != nil {
		return failed(err)
	}
	w, err := catalog.Create(ctx, s.dir, h.FileName()+".f", catalog.Options{})
	if err != nil {
		return failed(err)
	}
	s.lock.Lock()
	s.open[h.ID] = &writing{lock: rt.NewMutex(ctx), writer: w, header: *h}
	s.lock.Unlock()
	return nil
}

// writing finds an image that is being written, for those who may write it: the
// media server it was given to, and the master.
func (s *Server) writing(from pbx.Peer, id string) (*writing, error) {
	s.lock.Lock()
	w := s.open[id]
	s.lock.Unlock()
	if w == nil {
		return nil, status.Errorf(status.Inconsistent, "image %s is not being written", id)
	}
	if !from.Is(pbx.Master) && from.Name != w.header.Server {
		return nil, status.Errorf(status.NotAllowed, "image %s is written by %s, not by %s", id, w.header.Server, from)
	}
	return w, nil
}

func (s *Server) addFiles(ctx context.Context, from pbx.Peer, q Files) (struct{}, error) {
	w, err := s.writing(from, q.BackupID)
	if err != nil {
		return struct{}{}, err
	}
	w.lock.Lock(ctx)
	defer w.lock.Unlock(ctx)
	if q.Seq != w.next {
		return struct{}{}, status.Errorf(status.Inconsistent, "image %s: batch %d of entries came where %d was due", q.BackupID, q.Seq, w.next)
	}
	if err := w.writer.Add(ctx, q.Entries); err != nil {
		return struct{}{}, failed(err)
	}
	w.next++
	return struct{}{}, nil
}

func (s *Server) addFragment(ctx context.Context, from pbx.Peer, q Fragment) (struct{}, error) {
	w, err := s.writing(from, q.BackupID)
	if err != nil {
		return struct{}{}, err
	}
	w.lock.Lock(ctx)
	defer w.lock.Unlock(ctx)
	if w.blocks = append(w.blocks, q.Blocks...); len(w.blocks) > maxBlocks {
		return struct{}{}, status.Errorf(status.Inconsistent, "image %s: the block table of a fragment has more than %d bytes", q.BackupID, maxBlocks)
	}
	if q.More {
		return struct{}{}, nil
	}
	blocks := w.blocks
	w.blocks = nil
	f := &q.Fragment
	if f.Length <= 0 || f.Copy < 1 || f.Number < 1 || f.MediaServer != w.header.Server {
		return struct{}{}, status.Errorf(status.Inconsistent, "image %s: fragment %+v cannot be", q.BackupID, *f)
	}
	if t, err := media.DecodeBlocks(blocks); err == nil && t.Len() != f.Length {
		return struct{}{}, status.Errorf(status.Inconsistent, "image %s, fragment %d has %d bytes, its blocks %d", q.BackupID, f.Number, f.Length, t.Len())
	} else if err != nil {
		return struct{}{}, status.Errorf(status.Inconsistent, "image %s, fragment %d: block table: %w", q.BackupID, q.Fragment.Number, err)
	}
	if err := s.writeWhole(ctx, blocksName(&w.header, q.Fragment.Copy, q.Fragment.Number), blocks); err != nil {
		return struct{}{}, failed(err)
	}
	w.header.Fragments = append(slices.Clone(w.header.Fragments), q.Fragment)
	return struct{}{}, nil
}

func (s *Server) complete(ctx context.Context, from pbx.Peer, q Complete) (image.Header, error) {
	w, err := s.writing(from, q.BackupID)
	if err != nil {
		return image.Header{}, err
	}
	w.lock.Lock(ctx)
	defer w.lock.Unlock(ctx)
	h := w.header
	h.Status, h.Bytes, h.Files = q.Status, q.Bytes, q.Files
	if h.Imported == 0 {
		h.Ended = rt.Now(ctx)
	}
	if q.Began != 0 {
		h.Began = q.Began
	}
	if err := verifyFragments(&h); err != nil {
		return h, err
	}
	sum, err := w.writer.Seal(ctx)
	if err != nil {
		return h, failed(err)
	}
	n := sum.Files + sum.Dirs
	if h.Files < 0 {
		h.Files = n
	}
	if n != h.Files {
		return h, status.Errorf(status.Inconsistent, "image %s: %d files were backed up, the catalog has %d", h.ID, h.Files, n)
	}
	h.Complete = true
	if err := s.writeHeader(ctx, &h); err != nil {
		return h, failed(err)
	}
	if err := s.db.Update(ctx, func(tx store.Tx) error { return image.Table.Put(tx, h.ID, h) }); err != nil {
		return h, failed(err)
	}
	s.forget(h.ID)
	return h, nil
}

// verifyFragments checks that the fragments of each copy are numbered from 1, lie end
// to end and make up the whole stream.
func verifyFragments(h *image.Header) error {
	next, count := map[int]int64{}, map[int]int{}
	for _, f := range h.Fragments {
		if count[f.Copy]++; f.Number != count[f.Copy] {
			return status.Errorf(status.Inconsistent, "image %s, copy %d: fragment %d comes where %d was due", h.ID, f.Copy, f.Number, count[f.Copy])
		}
		if f.Offset != next[f.Copy] {
			return status.Errorf(status.Inconsistent, "image %s, copy %d, fragment %d begins at %d where %d was due",
				h.ID, f.Copy, f.Number, f.Offset, next[f.Copy])
		}
		next[f.Copy] += f.Length
	}
	if next[1] != h.Bytes || len(h.Fragments) == 0 {
		return status.Errorf(status.Inconsistent, "image %s has %d bytes, the fragments of copy 1 hold %d", h.ID, h.Bytes, next[1])
	}
	return nil
}

func (s *Server) abort(ctx context.Context, _ pbx.Peer, id string) (struct{}, error) {
	s.lock.Lock()
	w := s.open[id]
	delete(s.open, id)
	s.lock.Unlock()
	if w == nil { // done before, or by the master's restart; or it is complete, and must stay
		return struct{}{}, s.refuseComplete(ctx, id)
	}
	w.lock.Lock(ctx)
	defer w.lock.Unlock(ctx)
	if err := s.refuseComplete(ctx, id); err != nil {
		return struct{}{}, err
	}
	err := w.writer.Abort(ctx)
	return struct{}{}, errors.Join(err, s.discard(ctx, &w.header))
}

// refuseComplete is an error if the image is complete.
func (s *Server) refuseComplete(ctx context.Context, id string) error {
	var h image.Header
	err := s.db.View(ctx, func(tx store.Tx) (err error) {
		h, _, err = image.Table.Get(tx, id)
		return err
	})
	if err != nil {
		return failed(err)
	}
	if h.Complete {
		return status.Errorf(status.Inconsistent, "image %s is complete", id)
	}
	return nil
}

// discard removes all that is kept of an image that was not completed.
func (s *Server) discard(ctx context.Context, h *image.Header) error {
	name := h.FileName()
	errs := []error{catalog.Abandon(ctx, s.dir, name+".f")}
	// After a crash only the names say which fragments there were.
	names, err := s.dir.List(ctx, parent(name))
	errs = append(errs, err)
	for _, n := range names {
		if n = parent(name) + "/" + n; strings.HasPrefix(n, name+"_C") || n == name+".new" {
			errs = append(errs, s.remove(ctx, n))
		}
	}
	errs = append(errs, s.remove(ctx, name), s.removed(ctx, parent(name)))
	errs = append(errs, s.db.Update(ctx, func(tx store.Tx) error { return image.Table.Delete(tx, h.ID) }))
	return errors.Join(errs...)
}

func (s *Server) forget(id string) {
	s.lock.Lock()
	delete(s.open, id)
	s.lock.Unlock()
}

func (s *Server) images(ctx context.Context, from pbx.Peer, q Query) (Page, error) {
	if !from.Is(pbx.Master | pbx.Media | pbx.User) {
		if q.Client != "" && q.Client != from.Name {
			return Page{}, status.Errorf(status.ClientNotAllowed, "%s may not read the images of %s", from, q.Client)
		}
		q.Client = from.Name
	}
	limit := q.Limit
	if limit <= 0 || limit > 500 {
		limit = 500
	}
	var p Page
	take := func(h image.Header) (bool, error) {
		switch {
		case !h.Complete, q.Policy != "" && h.Policy != q.Policy, q.Before != 0 && h.Time > q.Before,
			q.Client != "" && h.Client != q.Client, q.BackupID != "" && h.ID != q.BackupID:
			return true, nil
		case len(p.Images) == limit:
			p.More = true
			return false, nil
		}
		p.Images = append(p.Images, h)
		return true, nil
	}
	err := s.db.View(ctx, func(tx store.Tx) error {
		p = Page{}
		if q.BackupID != "" {
			h, ok, err := image.Table.Get(tx, q.BackupID)
			if err != nil || !ok {
				return err
			}
			_, err = take(h)
			return err
		}
		first, last := "", ""
		if q.Client != "" {
			first, last = image.ClientKey(q.Client, 0), store.PrefixEnd(store.PairKey(q.Client, ""))
		}
		if q.After != "" {
			h, ok, err := image.Table.Get(tx, q.After)
			if err != nil {
				return err
			}
			if !ok {
				return status.Errorf(status.NoImage, "image %s is gone: list the images again", q.After)
			}
			first = image.ClientKey(h.Client, h.Time) + "\x00"
		}
		return image.Table.By(tx, "client", first, last, take)
	})
	if err != nil {
		return Page{}, failed(err)
	}
	return p, nil
}

// header finds a complete image that the peer may read.
func (s *Server) header(ctx context.Context, from pbx.Peer, id string) (image.Header, error) {
	var h image.Header
	var ok bool
	err := s.db.View(ctx, func(tx store.Tx) (err error) {
		h, ok, err = image.Table.Get(tx, id)
		return err
	})
	if err != nil {
		return h, failed(err)
	}
	if !ok || !h.Complete || !from.Is(pbx.Master|pbx.Media|pbx.User) && from.Name != h.Client {
		return h, status.Errorf(status.NoImage, "there is no image %s", id)
	}
	return h, nil
}

// headers finds several.
func (s *Server) headers(ctx context.Context, from pbx.Peer, ids []string) ([]image.Header, error) {
	hs := make([]image.Header, len(ids))
	for i, id := range ids {
		var err error
		if hs[i], err = s.header(ctx, from, id); err != nil {
			return nil, err
		}
	}
	return hs, nil
}

func (s *Server) readBlocks(ctx context.Context, from pbx.Peer, q Blocks) (BlocksPart, error) {
	h, err := s.header(ctx, from, q.BackupID)
	if err != nil {
		return BlocksPart{}, err
	}
	b, err := s.readWhole(ctx, blocksName(&h, q.Copy, q.Number))
	if err != nil {
		return BlocksPart{}, failed(err)
	}
	if q.From < 0 || q.From > int64(len(b)) {
		return BlocksPart{}, status.Errorf(status.BadParameter, "block table of %s: no byte %d", q.BackupID, q.From)
	}
	b = b[q.From:]
	const part = 1 << 20
	if len(b) > part {
		return BlocksPart{Bytes: b[:part], More: true}, nil
	}
	return BlocksPart{Bytes: b}, nil
}

func blocksName(h *image.Header, copy, number int) string {
	return fmt.Sprintf("%s_C%d_F%d.blk", h.FileName(), copy, number)
}

// headerText is what the header file says: JSON, indented, for people and for the day
// on which the database is gone.
func headerText(h *image.Header) ([]byte, error) {
	b, err := json.MarshalIndent(h, "", "  ")
	return append(b, '\n'), err
}

// beginHeader writes the header file of an image that is not complete. It need not be
// durable: complete writes it anew, and after a crash before that New removes it.
func (s *Server) beginHeader(ctx context.Context, h *image.Header) error {
	b, err := headerText(h)
	if err != nil {
		return err
	}
	s.dirs.Lock(ctx)
	defer s.dirs.Unlock(ctx)
	f, err := s.dir.Create(ctx, h.FileName()) // its directory has a file from now on
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", h.FileName(), err)
	}
	return nil
}

func (s *Server) writeHeader(ctx context.Context, h *image.Header) error {
	b, err := headerText(h)
	if err != nil {
		return err
	}
	return s.writeWhole(ctx, h.FileName(), b)
}

func (s *Server) writeWhole(ctx context.Context, name string, b []byte) error {
	f, err := s.dir.Create(ctx, name+".new")
	if err != nil {
		return err
	}
	_, werr := f.WriteAt(b, 0)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := s.dir.Rename(ctx, name+".new", name); err != nil {
		return err
	}
	return s.dir.Sync(ctx, parent(name))
}

func (s *Server) readWhole(ctx context.Context, name string) ([]byte, error) {
	f, err := s.dir.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && n > 0 {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

func (s *Server) remove(ctx context.Context, name string) error {
	if err := s.dir.Remove(ctx, name); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

// removed makes it durable that files of a directory were removed, and removes it and
// those above it as far as they are empty.
func (s *Server) removed(ctx context.Context, dir string) error {
	s.dirs.Lock(ctx)
	defer s.dirs.Unlock(ctx)
	if err := s.dir.Sync(ctx, dir); errors.Is(err, store.ErrNotFound) {
		return nil // by an earlier try
	} else if err != nil {
		return err
	}
	for ; dir != ""; dir = parent(dir) {
		names, err := s.dir.List(ctx, dir)
		if err != nil || len(names) > 0 {
			return err
		}
		if err := errors.Join(s.remove(ctx, dir), s.dir.Sync(ctx, parent(dir))); err != nil {
			return err
		}
	}
	return nil
}

func parent(name string) string {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			return name[:i]
		}
	}
	return ""
}
