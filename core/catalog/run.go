package catalog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"capstan/core/store"
)

// A run is a file of sorted rows, for a merge to read from its beginning to its end:
// chunks, each with the CRC-32C of its offset and its bytes behind it. A key may come
// twice, in the order of addition. For each entry there are how many bytes its key
// shares with the one before, the length of its rest, the length of the row, and both.
// Rows are not compressed: it would take longer than to write and read them.
type run struct {
	name   string
	file   store.File
	level  int
	closed bool
	out    *fileWriter // of a run that may become the sealed file: its blocks
	chunks []int       // lengths, without CRC, of the others' parts
	size   int64       // of all chunks
	buf    []byte      // of the next one
	last   []byte      // key
}

// runChunk is about how long a chunk is.
const runChunk = 32 << 10

// close closes the run's file, once.
func (r *run) close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	return r.file.Close()
}

// add adds the next row, and tells how many bytes its key shares with the last one.
func (r *run) add(key, row []byte) (shared int, err error) {
	shared = sharedPrefix(r.last, key)
	b := r.buf
	for _, v := range [...]int{shared, len(key) - shared, len(row)} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	b = append(b, key[shared:]...)
	r.buf = append(b, row...)
	r.last = append(r.last[:shared], key[shared:]...)
	if len(r.buf) < runChunk {
		return shared, nil
	}
	return shared, r.flush()
}

func (r *run) flush() error {
	r.chunks = append(r.chunks, len(r.buf))
	r.buf = binary.LittleEndian.AppendUint32(r.buf, frameSum(r.size, r.buf))
	n, err := r.file.WriteAt(r.buf, r.size)
	r.size += int64(n)
	r.buf = r.buf[:0]
	return err
}

// finish completes the run's file; it is not durable yet.
func (r *run) finish() (err error) {
	switch {
	case r.out != nil:
		err = r.out.finish()
	case len(r.buf) > 0:
		err = r.flush()
	}
	if err != nil {
		return fmt.Errorf("spool %s: %w", r.name, err)
	}
	r.out, r.buf, r.last = nil, nil, nil
	return nil
}

// runSource reads a run.
type runSource struct {
	run    *run
	chunk  int // the next one
	offset int64
	buf    []byte
	rows   cursor // of the chunk
}

func (s *runSource) advance(_ context.Context, in *input) (ok bool, err error) {
	if len(s.rows.b) == 0 {
		if s.chunk == len(s.run.chunks) {
			return false, nil
		}
		if err := s.read(); err != nil {
			return false, fmt.Errorf("spool %s: at %d: %w", s.run.name, s.offset, err)
		}
	}
	if err := in.parse(&s.rows); err != nil {
		return false, fmt.Errorf("spool %s: before %d: %w", s.run.name, s.offset, err)
	}
	return true, nil
}

// parse reads the next row of a chunk; the input has the key before.
func (in *input) parse(c *cursor) error {
	shared, rest, row := c.count(len(in.key)), c.count(maxKey), c.count(len(c.b))
	key := c.bytes(rest)
	in.row = c.bytes(row)
	if c.err != nil {
		return c.err
	}
	if shared < len(in.key) && (rest == 0 || key[0] <= in.key[shared]) {
		return errors.New("the rows are not in order")
	}
	in.shared, in.key = shared, append(in.key[:shared], key...)
	return nil
}

// read reads and checks a chunk.
func (s *runSource) read() error {
	n := s.run.chunks[s.chunk] + crc32.Size
	if cap(s.buf) < n {
		s.buf = make([]byte, n)
	}
	s.buf = s.buf[:n]
	if got, err := s.run.file.ReadAt(s.buf, s.offset); got < n {
		return errors.Join(errShort, err)
	}
	rows := s.buf[:n-crc32.Size]
	if frameSum(s.offset, rows) != binary.LittleEndian.Uint32(s.buf[n-crc32.Size:]) {
		return errors.New("the checksum does not match")
	}
	s.chunk++
	s.offset += int64(n)
	s.rows = cursor{b: rows}
	return nil
}
