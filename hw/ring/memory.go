package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"capstan/core/status"
)

// Places in the memory: see the package comment.
const (
	magic   = "CAPSRING"
	version = 1

	page       = 4096
	headAt     = 64
	tailAt     = 128
	fillWaitAt = 192
	takeWaitAt = 256
	slotsAt    = 4096
	slotHeader = 64
)

// Bounds of a ring.
const (
	MaxSlots    = 4096
	MaxSlotSize = 64 << 20
	maxRegion   = 4 << 30
)

// seals are what the memory must be sealed against: a file that is cut short
// kills who touches the mapping.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// geometry is a ring's shape. Each side keeps its own copy: the one in the
// memory is for people who look at it.
type geometry struct{ slots, size int }

func (g geometry) check() error {
	switch {
	case g.slots < 1 || g.slots > MaxSlots:
		return fmt.Errorf("a ring of %d slots: 1 to %d are possible", g.slots, MaxSlots)
	case g.size < 1 || g.size > MaxSlotSize:
		return fmt.Errorf("a ring with slots of %d bytes: 1 to %d are possible", g.size, MaxSlotSize)
	case g.total() > maxRegion:
		return fmt.Errorf("a ring of %d slots of %d bytes: at most %d bytes are possible", g.slots, g.size, int64(maxRegion))
	}
	return nil
}

func roundUp(n int) int { return (n + page - 1) &^ (page - 1) }

func (g geometry) stride() int { return roundUp(g.size) }
func (g geometry) dataAt() int { return roundUp(slotsAt + g.slots*slotHeader) }
func (g geometry) total() int  { return g.dataAt() + g.slots*g.stride() }

// grantLen is the length of the message that comes with the memory.
const grantLen = len(magic) + 4 + 4 + 8

// grant is the message that comes with the memory: magic, version, geometry.
func (g geometry) grant() []byte {
	b := append(make([]byte, 0, grantLen), magic...)
	b = binary.NativeEndian.AppendUint32(b, version)
	b = binary.NativeEndian.AppendUint32(b, uint32(g.slots))
	return binary.NativeEndian.AppendUint64(b, uint64(g.size))
}

func parseGrant(b []byte) (geometry, error) {
	if len(b) != grantLen || string(b[:len(magic)]) != magic {
		return geometry{}, errors.New("the other side does not speak of a ring")
	}
	b = b[len(magic):]
	if v := binary.NativeEndian.Uint32(b); v != version {
		return geometry{}, fmt.Errorf("a ring of version %d, this program knows %d: both processes must be of one version", v, version)
	}
	slots, size := binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint64(b[8:])
	if slots > MaxSlots || size > MaxSlotSize {
		return geometry{}, fmt.Errorf("a ring of %d slots of %d bytes is too large", slots, size)
	}
	g := geometry{int(slots), int(size)}
	return g, g.check()
}

// memory is the mapped memfd.
type memory struct {
	geometry
	fd  int
	mem []byte
}

// newMemory makes the memory of a ring.
func newMemory(name string, g geometry) (*memory, error) {
	if err := g.check(); err != nil {
		return nil, status.Errorf(status.SharedMemory, "%w", err)
	}
	fd, err := unix.MemfdCreate("capstan-ring-"+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, status.Errorf(status.SharedMemory, "making shared memory: %w", err)
	}
	if err = unix.Ftruncate(fd, int64(g.total())); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		return nil, status.Errorf(status.SharedMemory, "making %d bytes of shared memory: %w", g.total(), errors.Join(err, unix.Close(fd)))
	}
	m, err := mapMemory(fd, g)
	if err != nil {
		return nil, err
	}
	copy(m.mem, g.grant())
	return m, nil
}

// mapMemory maps what the other side made, having checked that it is as large as
// it is said to be, and stays so. It takes fd over, also when it fails.
func mapMemory(fd int, g geometry) (*memory, error) {
	m, err := tryMap(fd, g)
	if err != nil {
		return nil, status.Errorf(status.SharedMemory, "mapping shared memory: %w", errors.Join(err, unix.Close(fd)))
	}
	return m, nil
}

func tryMap(fd int, g geometry) (*memory, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Size != int64(g.total()) {
		return nil, fmt.Errorf("it has %d bytes, a ring of %d slots of %d has %d", st.Size, g.slots, g.size, g.total())
	}
	has, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, fmt.Errorf("reading its seals: %w", err)
	}
	if has&seals != seals {
		return nil, errors.New("it is not sealed: the other side could cut it short")
	}
	mem, err := unix.Mmap(fd, 0, g.total(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &memory{geometry: g, fd: fd, mem: mem}, nil
}

func (m *memory) close() error {
	err := errors.Join(unix.Munmap(m.mem), unix.Close(m.fd))
	m.mem = nil
	return err
}

// u64 and u32 are words of the memory. All places are constants or computed from
// this side's own geometry and an index below slots, and aligned.
func (m *memory) u64(at int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&m.mem[at])) }
func (m *memory) u32(at int) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&m.mem[at])) }

// header is where the header of the slot that counts n is; data is its data.
func (m *memory) header(n uint64) int { return slotsAt + int(n%uint64(m.slots))*slotHeader }

func (m *memory) data(n uint64) []byte {
	at := m.dataAt() + int(n%uint64(m.slots))*m.stride()
	return m.mem[at : at+m.size : at+m.size]
}
