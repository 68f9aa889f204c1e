package fuse

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/sys/unix"

	"capstan/core/catalog"
	"capstan/core/stream"
)

// staged are files that were fetched. Each is under the name of its image and path, and
// has that name only once its contents were checked. What was used longest ago goes
// when there is too much; what is open or pinned stays. Nothing is made durable: that
// would be waited for, and the file system may have much else to write. So after the host
// was started anew each file is checked once more when it is opened, and some time after
// it came it is asked once whether it could be written, and so it is when it is closed.
type staged struct {
	dir   string
	past  string // for files of before the host was started
	limit int64
	log   *slog.Logger

	mu     sync.Mutex
	files  map[string]*list.Element // by key
	recent *list.List               // of *stagedFile, the front was used last
	bytes  int64
	claims map[string]*claim // by key

	saving sync.Mutex         // of the file of pins
	flight singleflight.Group // of checks, by key
}

type stagedFile struct {
	key    string
	old    bool  // it came before the host was started last, and was not checked since
	size   int64 // on disk
	blocks uint64
	users  int
	pinned time.Time // until then it stays
	came   time.Time
	synced bool  // it is known to be on disk
	bad    error // why it was removed, for those who have it open
}

// written is how long after it came a file has been written by the kernel, or that has
// failed: then the kernel drops what it could not write, and shows zeros from then on.
const written = 30 * time.Second

// doubtful tells whether a file is to be checked before it is shown.
func (f *stagedFile) doubtful() bool {
	return f.old || !f.synced && time.Since(f.came) > written
}

// openStaged finds what an earlier mount has left, and removes what was not finished. If
// it cannot be read what was to stay, it stays as other files do.
func openStaged(dir string, limit int64, log *slog.Logger) (*staged, error) {
	s := &staged{dir: filepath.Join(dir, "files"), past: filepath.Join(dir, "old"), limit: limit, log: log, files: map[string]*list.Element{}, recent: list.New(), claims: map[string]*claim{}}
	if err := os.RemoveAll(filepath.Join(dir, "jobs")); err != nil {
		return nil, fmt.Errorf("the staging directory: %w", err)
	}
	for _, d := range []string{s.dir, s.past, filepath.Join(dir, "jobs")} {
		if err := ownDir(d); err != nil {
			return nil, fmt.Errorf("the staging directory: %w", err)
		}
	}
	if err := s.age(); err != nil {
		return nil, fmt.Errorf("the staging directory: %w", err)
	}
	all, err := filesIn(s.past, s.dir)
	if err != nil {
		return nil, fmt.Errorf("the staging directory: %w", err)
	}
	slices.SortFunc(all, func(a, b found) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	pins, err := readPins(dir, time.Now())
	if err != nil {
		log.Warn("some of what was to stay for a day may go", "error", err)
	}
	for _, f := range all {
		n := s.note(f.info.Name(), f.info)
		n.pinned, n.old = pins[n.key], f.dir == s.past
	}
	return s, s.evict(0)
}

// found is a file that an earlier mount has left.
type found struct {
	dir  string
	info os.FileInfo
}

func filesIn(dirs ...string) (all []found, err error) {
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
				all = append(all, found{dir, info})
			}
		}
	}
	return all, nil
}

// bootID is a random number that the kernel draws when it starts.
const bootID = "/proc/sys/kernel/random/boot_id"

// age puts what is staged among the old files, if the host was started since it came. If
// that is not brought to its end, the host was started again, and so is this.
func (s *staged) age() error {
	now, err := os.ReadFile(bootID)
	if err != nil {
		return err
	}
	at := filepath.Join(filepath.Dir(s.dir), "boot")
	then, err := os.ReadFile(at)
	if err == nil && bytes.Equal(then, now) {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	all, err := filesIn(s.dir)
	if err != nil {
		return err
	}
	for _, f := range all {
		if err := os.Rename(filepath.Join(s.dir, f.info.Name()), filepath.Join(s.past, f.info.Name())); err != nil {
			return err
		}
	}
	return replaceFile(at, now)
}

// ownDir makes a directory that nobody else may look into. One that is there must be this
// user's: another could put contents into it.
func ownDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is a link, or another user's: give a directory of your own", dir)
	}
	return os.Chmod(dir, 0o700)
}

// keySize is how many bytes the name of a staged file stands for.
const keySize = 20

// keyOf is the name of a staged file.
func keyOf(image, path string) string {
	h := sha256.Sum256([]byte(image + "\x00" + path))
	return hex.EncodeToString(h[:keySize])
}

// path is where a staged file is, or would be.
func (s *staged) path(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if el := s.files[key]; el != nil {
		return s.at(el.Value.(*stagedFile))
	}
	return filepath.Join(s.dir, key)
}

func (s *staged) at(f *stagedFile) string {
	if f.old {
		return filepath.Join(s.past, f.key)
	}
	return filepath.Join(s.dir, f.key)
}

func (s *staged) note(key string, info os.FileInfo) *stagedFile {
	f := &stagedFile{key: key, size: info.Size(), came: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.blocks = uint64(st.Blocks)
		f.size = st.Blocks * 512
	}
	if el := s.files[key]; el != nil { // in both directories
		s.forget(el)
	}
	s.files[key] = s.recent.PushFront(f)
	s.bytes += f.size
	return f
}

// blocks is how much of a disk a staged file takes; ok is false if it is not staged.
func (s *staged) blocks(key string) (n uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if el := s.files[key]; el != nil {
		return el.Value.(*stagedFile).blocks, true
	}
	return 0, false
}

// open opens a staged file, which stays as long as it is open; nil if it is not staged. A
// doubtful one is checked first, once for all who open it.
func (s *staged) open(ctx context.Context, key string, e *catalog.Entry) (*stagedHandle, error) {
	h, doubtful, err := s.take(key)
	if h == nil || err != nil || !doubtful {
		return h, err
	}
	_, err = shared(ctx, &s.flight, key, func() (struct{}, error) { return struct{}{}, s.check(key, e) })
	s.mu.Lock()
	doubtful = h.of.doubtful()
	s.mu.Unlock()
	if err != nil || doubtful {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// check compares an old file with what the catalog says, and asks whether another could be
// written. What is not right is removed. It has an open file of its own: who waits for it
// may go.
func (s *staged) check(key string, e *catalog.Entry) (err error) {
	h, doubtful, err := s.take(key)
	if h == nil || err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if !doubtful {
		return nil
	}
	if bad := h.bad(e); bad != nil {
		return h.discard(bad)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !h.current() {
		return nil
	}
	if h.of.old {
		if err := os.Rename(s.at(h.of), filepath.Join(s.dir, key)); err != nil {
			return err
		}
	}
	h.of.old, h.of.synced = false, true
	return nil
}

// discard removes a file for what is wrong with it, unless somebody has done so.
func (h *stagedHandle) discard(bad error) error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	return h.remove(bad)
}

// remove is discard with the lock held.
func (h *stagedHandle) remove(bad error) error {
	h.of.bad = bad
	if !h.current() {
		return nil
	}
	defer h.s.forget(h.s.files[h.of.key])
	h.s.log.Warn("a staged file is removed", "file", h.file.Name(), "error", bad)
	return os.Remove(h.s.at(h.of))
}

// current tells, with the lock held, whether the file is the one that is staged.
func (h *stagedHandle) current() bool {
	el := h.s.files[h.of.key]
	return el != nil && el.Value.(*stagedFile) == h.of
}

// written is the error with which the kernel has failed to write the file since it was
// opened, or before if nobody was told. It waits for nothing: of pages behind the end
// none is being written. The kernel tells those who open the file after this one nothing
// more, so it must go, and whoever has it open meanwhile is told by what is noted.
func (h *stagedHandle) written() error {
	const behind = 1<<44 - 1<<12 // the last page that has a number of 32 bits
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.of.bad != nil {
		return h.of.bad
	}
	err := unix.SyncFileRange(int(h.file.Fd()), behind, 1, unix.SYNC_FILE_RANGE_WAIT_BEFORE)
	switch {
	case errors.Is(err, unix.EIO), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return errors.Join(err, h.remove(err))
	}
	return nil // or it cannot be asked here
}

// bad is what is wrong with a doubtful file. fsync(2) tells who has just opened it of an
// error of earlier, if nobody was told.
func (h *stagedHandle) bad(e *catalog.Entry) error {
	h.s.mu.Lock()
	old := h.of.old
	h.s.mu.Unlock()
	switch {
	case !old:
		return h.file.Sync()
	case e.CRC == 0:
		return errors.New("its contents cannot be checked")
	}
	return verify(h.file, e)
}

// old tells whether a file is staged, and is to be compared with the catalog.
func (s *staged) old(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	el := s.files[key]
	return el != nil && el.Value.(*stagedFile).old
}

// take opens a staged file as it is.
func (s *staged) take(key string) (h *stagedHandle, doubtful bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	el := s.files[key]
	if el == nil {
		return nil, false, nil
	}
	of := el.Value.(*stagedFile)
	f, err := os.OpenFile(s.at(of), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) { // somebody has removed it
		s.forget(el)
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	s.recent.MoveToFront(el)
	of.users++
	return &stagedHandle{s: s, of: of, file: f}, of.doubtful(), nil
}

func (s *staged) forget(el *list.Element) {
	f := el.Value.(*stagedFile)
	s.recent.Remove(el)
	delete(s.files, f.key)
	s.bytes -= f.size
}

// grace is how long a file stays that has come: who waits for it has not opened it yet,
// and others of its batch that come after it need its room.
const grace = 10 * time.Second

// accept takes a file that a restore has brought, after its length and contents were
// compared with what the catalog says. A file that differs is an error, and not taken.
func (s *staged) accept(from, key string, e *catalog.Entry) error {
	if err := verifyAt(from, e); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files[key] != nil {
		return os.Remove(from)
	}
	now := time.Now() // when it came: what an earlier mount left is used in this order
	if err := errors.Join(os.Chtimes(from, now, now), os.Rename(from, filepath.Join(s.dir, key))); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(s.dir, key))
	if err != nil {
		return err
	}
	f := s.note(key, info)
	if f.pinned = now.Add(grace); s.claims[key] != nil {
		f.pinned = now.Add(pinned)
	}
	return s.evict(0)
}

// room makes room for files that will come, so that the disk holds no more than the limit
// while they do.
func (s *staged) room(bytes int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.evict(bytes)
}

// evict removes what is too much if so much comes. It is called with the lock held, or by
// nobody else.
func (s *staged) evict(coming int64) error {
	for el := s.recent.Back(); el != nil && s.bytes+coming > s.limit; {
		f, prev := el.Value.(*stagedFile), el.Prev()
		if f.users == 0 && time.Now().After(f.pinned) {
			if err := os.Remove(s.at(f)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("the staging directory: %w", err)
			}
			s.forget(el)
		}
		el = prev
	}
	return nil
}

// verifyAt compares a file with its entry.
func verifyAt(path string, e *catalog.Entry) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return verify(f, e)
}

// verify compares a file with its entry: its length, and its contents if their checksum
// is known. Where it is read at stays.
func verify(f *os.File, e *catalog.Entry) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Size() != e.Size:
		return fmt.Errorf("%s came with %d bytes; the catalog says %d", e.Path, info.Size(), e.Size)
	case e.CRC == 0:
		return nil
	}
	sum := crc32.New(stream.Castagnoli)
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, e.Size)); err != nil {
		return err
	}
	if sum.Sum32() != e.CRC {
		return fmt.Errorf("%s came with contents of checksum %08x; the catalog says %08x", e.Path, sum.Sum32(), e.CRC)
	}
	return nil
}

// stagedHandle is an open staged file.
type stagedHandle struct {
	s    *staged
	of   *stagedFile // which was forgotten if somebody has removed it meanwhile
	file *os.File
}

func (h *stagedHandle) close() error {
	h.s.mu.Lock()
	h.of.users--
	err := h.s.evict(0)
	h.s.mu.Unlock()
	return errors.Join(err, h.file.Close())
}
