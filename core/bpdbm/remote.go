package bpdbm

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"

	"capstan/core/catalog"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
)

// FilesRange asks for bytes of an image's .f file, which never change.
type FilesRange struct {
	BackupID string `json:"backupId"`
	From     int64  `json:"from"`
	Length   int    `json:"length"` // at most MaxFilesRange
}

// FilesPart are the bytes asked for, fewer at the file's end.
type FilesPart struct {
	Bytes []byte `json:"bytes"`
	Size  int64  `json:"size"` // of the whole file
}

// MaxFilesRange is the most bytes that one call to ReadFiles gives.
const MaxFilesRange = 1 << 20

func (s *Server) readFiles(ctx context.Context, from pbx.Peer, q FilesRange) (FilesPart, error) {
	h, err := s.header(ctx, from, q.BackupID)
	if err != nil {
		return FilesPart{}, err
	}
	if q.From < 0 || q.Length < 0 {
		return FilesPart{}, status.Errorf(status.BadParameter, "image %s: no %d bytes at %d", q.BackupID, q.Length, q.From)
	}
	f, err := s.dir.Open(ctx, h.FileName()+".f")
	if err != nil {
		return FilesPart{}, failed(fmt.Errorf("image %s: %w", q.BackupID, err))
	}
	defer f.Close()
	var p FilesPart
	if p.Size, err = f.Size(); err != nil {
		return p, failed(fmt.Errorf("image %s: %w", q.BackupID, err))
	}
	n := max(min(int64(q.Length), MaxFilesRange, p.Size-q.From), 0)
	p.Bytes = make([]byte, n)
	if got, err := f.ReadAt(p.Bytes, q.From); err != nil && got < len(p.Bytes) {
		return p, failed(fmt.Errorf("image %s: read %d bytes of its .f file at %d: %w", q.BackupID, n, q.From, err))
	}
	return p, nil
}

// Remote opens .f files of a master from any host. What it has fetched it keeps,
// by image, up to a number of bytes. Tasks may share it.
type Remote struct {
	at     pbx.Addr
	blocks *catalog.Cache
	lock   rt.Lock
	limit  int
	pieces map[pieceKey]*list.Element
	recent *list.List // of *piece; the front was used last
}

// pieceSize is how much of a file is fetched at a time: some dozens of blocks, so
// that listing a large directory takes few calls.
const pieceSize = 128 << 10

type pieceKey struct {
	image  string
	number int64
}

type piece struct {
	key   pieceKey
	bytes []byte
	size  int64 // of the whole file
}

// NewRemote makes a Remote of the bpdbm at an address (see [Service]). It keeps
// about memory bytes, one half as they are and one half decompressed.
func NewRemote(ctx context.Context, at pbx.Addr, memory int64) *Remote {
	return &Remote{
		at: at, blocks: catalog.NewCache(ctx, memory/2),
		lock: rt.NewLock(ctx), limit: int(max(memory/2/pieceSize, 2)), pieces: map[pieceKey]*list.Element{}, recent: list.New(),
	}
}

// Open opens the .f file of a complete image. An image that this host or user may
// not read does not exist for it: [status.NoImage].
func (r *Remote) Open(ctx context.Context, backupID string) (*catalog.Reader, error) {
	return catalog.OpenFile(ctx, &remoteFile{r, backupID}, backupID, r.blocks)
}

// piece gives a piece of an image's file, fetched if need be.
func (r *Remote) piece(ctx context.Context, key pieceKey) (*piece, error) {
	r.lock.Lock()
	if el := r.pieces[key]; el != nil {
		r.recent.MoveToFront(el)
		r.lock.Unlock()
		return el.Value.(*piece), nil
	}
	r.lock.Unlock()
	got, err := ReadFiles.Call(ctx, r.at, FilesRange{BackupID: key.image, From: key.number * pieceSize, Length: pieceSize})
	if err != nil {
		return nil, err
	}
	if want := max(min(pieceSize, got.Size-key.number*pieceSize), 0); int64(len(got.Bytes)) != want {
		return nil, fmt.Errorf("image %s: %s sent %d bytes of its .f file where %d were due", key.image, r.at, len(got.Bytes), want)
	}
	p := &piece{key, got.Bytes, got.Size}
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.pieces[key] == nil { // no other task has fetched it meanwhile
		r.pieces[key] = r.recent.PushFront(p)
	}
	for r.recent.Len() > r.limit {
		old := r.recent.Remove(r.recent.Back()).(*piece)
		delete(r.pieces, old.key)
	}
	return p, nil
}

// remoteFile is the .f file of one image.
type remoteFile struct {
	remote *Remote
	image  string
}

var _ catalog.File = (*remoteFile)(nil)

func (f *remoteFile) ReadAt(ctx context.Context, b []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, errors.New("read at a negative offset")
	}
	done := 0
	for done < len(b) {
		at := offset + int64(done)
		p, err := f.remote.piece(ctx, pieceKey{f.image, at / pieceSize})
		if err != nil {
			return done, err
		}
		skip := at % pieceSize
		if skip >= int64(len(p.bytes)) {
			return done, io.EOF
		}
		done += copy(b[done:], p.bytes[skip:])
	}
	return done, nil
}

func (f *remoteFile) Size(ctx context.Context) (int64, error) {
	p, err := f.remote.piece(ctx, pieceKey{f.image, 0})
	if err != nil {
		return 0, err
	}
	return p.size, nil
}

// Close leaves what was fetched for whoever opens the image next.
func (f *remoteFile) Close() error { return nil }
