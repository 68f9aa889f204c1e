package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"
)

// The files of a run's directory.
const (
	headFile   = "run.json"
	jobsFile   = "jobs.ndjson"
	mountsFile = "mounts.ndjson"
	mediaFile  = "media.ndjson"
	useFile    = "use.ndjson"
)

// Writer writes a run's directory. Only buffers are in memory.
type Writer struct {
	dir  string
	jobs stream
	mnts stream
	vols stream
}

var _ Sink = (*Writer)(nil)

// stream is one file of lines.
type stream struct {
	file *os.File
	buf  *bufio.Writer
	n    int64
	err  error
}

// Create makes the directory of a run. One that holds a finished run already is
// refused.
func Create(dir string) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of a run: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, headFile)); err == nil {
		return nil, fmt.Errorf("%s holds a run already: name another directory, or remove it", dir)
	}
	w := &Writer{dir: dir}
	for name, s := range map[string]*stream{jobsFile: &w.jobs, mountsFile: &w.mnts, mediaFile: &w.vols} {
		if err := s.create(dir, name); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return w, nil
}

func (s *stream) create(dir, name string) (err error) {
	if s.file, err = os.Create(filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("writing a run: %w", err)
	}
	s.buf = bufio.NewWriterSize(s.file, 1<<16)
	return nil
}

// put writes one line. The first error stays.
func (s *stream) put(v any) error {
	b, err := json.Marshal(v)
	if err == nil && s.err == nil {
		_, s.err = s.buf.Write(append(b, '\n'))
	}
	s.n++
	if err = errors.Join(err, s.err); err != nil {
		return fmt.Errorf("writing a run: %w", err)
	}
	return nil
}

func (s *stream) close() error {
	if s.file == nil {
		return nil
	}
	err := errors.Join(s.buf.Flush(), s.file.Sync(), s.file.Close()) // before the head, which says that it is there
	s.file = nil
	return err
}

// PutJob writes a job.
func (w *Writer) PutJob(j *Job) error { return w.jobs.put(j) }

// PutMount writes a mount.
func (w *Writer) PutMount(m *Mount) error { return w.mnts.put(m) }

// PutVolumes writes a count of cartridges.
func (w *Writer) PutVolumes(v *Volumes) error { return w.vols.put(v) }

// Close closes the files of a run that was not finished.
func (w *Writer) Close() error {
	return errors.Join(w.jobs.close(), w.mnts.close(), w.vols.close())
}

// Finish writes what is left, and the head: the run is complete when it is there.
func (w *Writer) Finish(h Head, use []Use) error {
	h.Version = Version
	h.Jobs, h.Mounts, h.Media, h.Uses = w.jobs.n, w.mnts.n, w.vols.n, int64(len(use))
	var u stream
	err := u.create(w.dir, useFile)
	for i := range use {
		if err == nil {
			err = u.put(&use[i])
		}
	}
	if err = errors.Join(err, u.close(), w.Close()); err != nil {
		return fmt.Errorf("writing a run: %w", err)
	}
	b, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return fmt.Errorf("writing a run: %w", err)
	}
	name := filepath.Join(w.dir, headFile)
	if err := renameio.WriteFile(name, append(b, '\n'), 0o644, renameio.WithTempDir(w.dir)); err != nil {
		return fmt.Errorf("writing a run: %w", err)
	}
	return nil
}

// Bounds of what is read.
const (
	maxHead    = 16 << 20
	maxLine    = 64 << 10
	maxRecords = 50_000_000 // of each file
)

// Read reads a run's directory.
func Read(dir string) (*Run, error) { return read(os.DirFS(dir), dir) }

func read(fsys fs.FS, dir string) (*Run, error) {
	r := &Run{}
	if err := readHead(fsys, dir, &r.Head); err != nil {
		return nil, err
	}
	h := &r.Head
	var err error
	if r.Jobs, err = readLines(fsys, dir, jobsFile, h.Jobs, (*Job).check); err != nil {
		return nil, err
	}
	if r.Mounts, err = readLines(fsys, dir, mountsFile, h.Mounts, (*Mount).check); err != nil {
		return nil, err
	}
	if r.Volumes, err = readLines(fsys, dir, mediaFile, h.Media, (*Volumes).check); err != nil {
		return nil, err
	}
	r.Use, err = readLines(fsys, dir, useFile, h.Uses, (*Use).check)
	return r, err
}

func readHead(fsys fs.FS, dir string, h *Head) error {
	f, err := fsys.Open(headFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has no %s: it is no run's directory, or the run was not finished", dir, headFile)
	}
	if err != nil {
		return fmt.Errorf("reading a run: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxHead))
	if err != nil {
		return fmt.Errorf("reading a run: %w", err)
	}
	if err := json.Unmarshal(b, h); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, headFile), err)
	}
	if h.Version != Version {
		return fmt.Errorf("%s: version %d, this program reads %d: use the program that wrote it, or run again", filepath.Join(dir, headFile), h.Version, Version)
	}
	for _, n := range []int64{h.Jobs, h.Mounts, h.Media, h.Uses} {
		if n < 0 || n > maxRecords {
			return fmt.Errorf("%s: %d records of a kind, this program reads up to %d", filepath.Join(dir, headFile), n, maxRecords)
		}
	}
	for i := range h.Cartridges {
		if c := &h.Cartridges[i]; c.Taken < 0 || c.Frees < 0 || c.Kept < 0 {
			return fmt.Errorf("%s: cartridge %d of library %s: a time is below 0", filepath.Join(dir, headFile), i, c.Library)
		}
	}
	if h.Length < 0 || h.Warmup < 0 || h.Warmup > h.Length || h.Start < 0 {
		return fmt.Errorf("%s: a run of %v, its first %v to be left out", filepath.Join(dir, headFile), h.Length, h.Warmup)
	}
	return nil
}

// readLines reads want records, and says which line is wrong.
func readLines[T any](fsys fs.FS, dir, name string, want int64, check func(*T) error) ([]T, error) {
	full := filepath.Join(dir, name)
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading a run: %w", err)
	}
	defer f.Close()
	all := make([]T, 0, min(want, 1<<16))
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if int64(len(all)) == want {
			return nil, fmt.Errorf("%s: more than the %d lines that %s says", full, want, headFile)
		}
		var v T
		b := bytes.TrimSpace(lines.Bytes())
		err := json.Unmarshal(b, &v)
		if err == nil {
			err = check(&v)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", full, len(all)+1, err)
		}
		all = append(all, v)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", full, len(all)+1, err)
	}
	if int64(len(all)) != want {
		return nil, fmt.Errorf("%s: %d lines, %s says %d: the file is damaged", full, len(all), headFile, want)
	}
	return all, nil
}

func (m *Mount) check() error {
	if m.Ready < m.Asked || m.Robot < 0 {
		return fmt.Errorf("a mount of %s is ready before it was asked for", m.Media)
	}
	return nil
}

func (v *Volumes) check() error {
	for _, n := range []int{v.Scratch, v.Free, v.Active, v.Full, v.Held} {
		if n < 0 || n > maxRecords {
			return fmt.Errorf("library %s has %d cartridges of a state", v.Library, n)
		}
	}
	return nil
}

func (u *Use) check() error {
	if known(u.Kind) < 0 || u.Bytes < 0 || u.At < 0 {
		return fmt.Errorf("use of %s: kind %q, %d bytes", u.Name, u.Kind, u.Bytes)
	}
	return nil
}

// ReadAll reads a run, or every run in the directories of one: its replications.
func ReadAll(dir string) ([]*Run, error) {
	if _, err := os.Stat(filepath.Join(dir, headFile)); err == nil {
		r, err := Read(dir)
		return []*Run{r}, err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*", headFile))
	if err != nil {
		return nil, fmt.Errorf("reading runs: %w", err)
	}
	if len(found) == 0 {
		_, err := Read(dir)
		return nil, err
	}
	var all []*Run
	for _, f := range found {
		r, err := Read(filepath.Dir(f))
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	slices.SortStableFunc(all, func(a, b *Run) int { return a.Head.Replication - b.Head.Replication })
	return all, nil
}
