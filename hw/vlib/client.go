package vlib

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"capstan/core/dev"
	"capstan/core/rt"
)

// Client reaches the library's process. It is a [dev.Finder]; its handles may be
// used by several goroutines.
//
// When the library's process ends, operations under way and later ones on the
// same handle fail with [dev.ErrGone], and whether one was done is unknown. A
// handle opened after that connects anew.
type Client struct {
	path string

	mu      sync.Mutex
	conn    *conn
	regions []*region
	nextID  uint32
}

// region is memory shared with the library.
type region struct {
	id  uint32
	fd  int // of our own
	mem []byte
}

// Dial connects to the library that listens at a path.
func Dial(ctx context.Context, path string) (*Client, error) {
	c := &Client{path: path}
	if _, err := c.connected(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// connected is the connection, made anew if it broke.
func (c *Client) connected(ctx context.Context) (*conn, error) {
	rt.MayBlock(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil && c.conn.alive() {
		return c.conn, nil
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, fmt.Errorf("%w: no library answers at %s, start its process: %w", dev.ErrGone, c.path, err)
	}
	u := raw.(*net.UnixConn)
	if err := checkPeer(u); err != nil {
		return nil, errors.Join(err, u.Close())
	}
	k := &conn{path: c.path, raw: u, waiting: map[uint64]chan<- *reply{}}
	go k.read()
	for _, r := range c.regions {
		if err := k.share(r); err != nil {
			return nil, errors.Join(err, u.Close())
		}
	}
	c.conn = k
	return k, nil
}

// RegisterRegion shares memory with the library, for as long as the client lives
// or until [Client.ForgetRegion]: blocks in it are written and read without a
// copy. fd is a memfd sealed against shrinking, of which mem is the mapping from
// its beginning; the caller keeps both.
func (c *Client) RegisterRegion(fd int, mem []byte) error {
	if len(mem) == 0 {
		return errors.New("registering a region: it is empty")
	}
	if seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil || seals&unix.F_SEAL_SHRINK == 0 {
		return errors.New("registering a region: it is no memfd sealed against shrinking, and the library refuses others")
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("registering a region of %d bytes: %w", len(mem), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextID++
	r := &region{id: c.nextID, fd: own, mem: mem}
	if c.conn != nil && c.conn.alive() {
		if err := c.conn.share(r); err != nil {
			return errors.Join(fmt.Errorf("registering a region of %d bytes: %w", len(mem), err), unix.Close(own))
		}
	}
	c.regions = append(c.regions, r)
	return nil
}

// ForgetRegion ends the sharing of memory, before the caller unmaps it.
func (c *Client) ForgetRegion(mem []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, r := range c.regions {
		if len(mem) > 0 && &r.mem[0] == &mem[0] {
			if c.conn != nil {
				c.conn.call(&request{Op: opForget, Region: r.id}) //nolint:errcheck // a broken connection forgets all
			}
			unix.Close(r.fd) //nolint:errcheck // it was a duplicate
			c.regions = append(c.regions[:i], c.regions[i+1:]...)
			return
		}
	}
}

// find is the registered region that p lies in, and where.
func (c *Client) find(p []byte) (id uint32, offset int64, ok bool) {
	if len(p) == 0 {
		return 0, 0, false
	}
	at := uintptr(unsafe.Pointer(&p[0]))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.regions {
		first := uintptr(unsafe.Pointer(&r.mem[0]))
		if at >= first && at-first <= uintptr(len(r.mem)) && uintptr(len(p)) <= uintptr(len(r.mem))-(at-first) {
			return r.id, int64(at - first), true
		}
	}
	return 0, 0, false
}

// Drive opens a drive.
func (c *Client) Drive(ctx context.Context, name string) (dev.Drive, error) {
	h, _, err := c.open(ctx, opOpenDrive, name)
	if err != nil {
		return nil, err
	}
	return &drive{handle: h}, nil
}

// Changer opens the robot.
func (c *Client) Changer(ctx context.Context, name string) (dev.Changer, error) {
	h, r, err := c.open(ctx, opOpenChanger, name)
	if err != nil {
		return nil, err
	}
	return &changer{h, max(r.Moves, 1)}, nil
}

// open opens a device. A connection that turns out to have broken meanwhile is
// made anew once: an open changes nothing.
func (c *Client) open(ctx context.Context, o op, name string) (handle, *reply, error) {
	for again := true; ; again = false {
		k, err := c.connected(ctx)
		if err != nil {
			return handle{}, nil, err
		}
		r, err := k.call(&request{Op: o, Name: name})
		if err == nil {
			return handle{client: c, conn: k, name: name, id: uint32(r.N)}, r, nil
		}
		if !again || k.alive() {
			return handle{}, nil, err
		}
	}
}

// Close ends the connection. Commands that have begun end in the library.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.regions {
		unix.Close(r.fd) //nolint:errcheck // it was a duplicate
	}
	c.regions = nil
	if c.conn == nil {
		return nil
	}
	k := c.conn
	c.conn = nil
	return closeQuiet(k.raw)
}

// conn is one connection to the library.
type conn struct {
	path  string
	raw   *net.UnixConn
	write sync.Mutex // of frames

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan<- *reply
	err     error // why the connection ended
}

func (k *conn) alive() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err == nil
}

// read hands replies to those that wait for them, until the connection ends.
func (k *conn) read() {
	in := bufio.NewReaderSize(k.raw, 4096)
	var buf []byte
	for {
		r := new(reply)
		var err error
		if buf, err = readFrame(in, buf, r); err != nil {
			k.end(err)
			return
		}
		k.mu.Lock()
		ch := k.waiting[r.ID]
		delete(k.waiting, r.ID)
		k.mu.Unlock()
		if ch != nil {
			ch <- r
		}
	}
}

func (k *conn) end(err error) {
	if errors.Is(err, io.EOF) {
		err = errors.New("it closed the connection")
	}
	k.mu.Lock()
	k.err = err
	for id, ch := range k.waiting {
		close(ch)
		delete(k.waiting, id)
	}
	k.mu.Unlock()
	k.raw.Close() //nolint:errcheck // it has failed already
}

// call sends a request and waits for its reply, as long as that takes: a
// device's command cannot be taken back.
func (k *conn) call(q *request) (*reply, error) { return k.send(q, nil) }

func (k *conn) send(q *request, rights []byte) (*reply, error) {
	ch := make(chan *reply, 1)
	k.mu.Lock()
	if k.err != nil {
		k.mu.Unlock()
		return nil, k.gone()
	}
	k.last++
	q.ID = k.last
	k.waiting[q.ID] = ch
	k.mu.Unlock()
	b, err := encodeFrame(q)
	if err != nil {
		k.mu.Lock()
		delete(k.waiting, q.ID)
		k.mu.Unlock()
		return nil, err
	}
	k.write.Lock()
	if rights == nil {
		_, err = k.raw.Write(b)
	} else {
		_, _, err = k.raw.WriteMsgUnix(b, rights, nil)
	}
	k.write.Unlock()
	if err != nil {
		k.end(err)
	}
	r := <-ch
	if r == nil {
		return nil, k.gone()
	}
	return r, r.Err.err()
}

func (k *conn) gone() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Errorf("%w: the library at %s: %w", dev.ErrGone, k.path, k.err)
}

// share hands a region over.
func (k *conn) share(r *region) error {
	q := &request{Op: opRegion, Region: r.id, Length: int64(len(r.mem))}
	_, err := k.send(q, unix.UnixRights(r.fd))
	return err
}

// handle is an open device.
type handle struct {
	client *Client
	conn   *conn
	name   string
	id     uint32
}

func (h *handle) Name() string { return h.name }

func (h *handle) call(ctx context.Context, q request) (*reply, error) {
	rt.MayBlock(ctx)
	if ctx.Err() != nil {
		return nil, rt.Cause(ctx)
	}
	return h.send(&q)
}

func (h *handle) send(q *request) (*reply, error) {
	q.Handle = h.id
	r, err := h.conn.call(q)
	if r == nil && errors.Is(err, dev.ErrGone) {
		return &reply{}, &dev.Error{Device: h.name, Op: "transport", Err: err}
	}
	return r, err
}

func (h *handle) do(ctx context.Context, q request) error {
	_, err := h.call(ctx, q)
	return err
}

// changer is a handle of the robot.
type changer struct {
	handle
	moves int
}

var (
	_ dev.Overlapping = (*changer)(nil)
	_ dev.Rescanner   = (*changer)(nil)
)

// Moves is how many go on beside each other.
func (c *changer) Moves() int { return c.moves }

// Rescan has the robot read every barcode.
func (c *changer) Rescan(ctx context.Context) error { return c.do(ctx, request{Op: opRescan}) }

func (c *changer) Close() error {
	_, err := c.send(&request{Op: opClose})
	return err
}

func (c *changer) Move(ctx context.Context, from, to int) error {
	return c.do(ctx, request{Op: opMove, A: int64(from), B: int64(to)})
}

func (c *changer) Inventory(ctx context.Context) ([]dev.Element, error) {
	var all []dev.Element
	for {
		r, err := c.call(ctx, request{Op: opInventory, A: int64(len(all))})
		if err != nil {
			return nil, err
		}
		all = append(all, r.Elements...)
		if !r.More || len(r.Elements) == 0 {
			return all, nil
		}
	}
}

// drive is a handle of a drive.
type drive struct {
	handle
	mu      sync.Mutex // guards scratch, and what is in it
	scratch []byte     // a region of our own, for blocks that lie in none
}

var (
	_ dev.Drive  = (*drive)(nil)
	_ dev.Sorter = (*drive)(nil)
)

// Sort asks for the order with the least winding.
func (d *drive) Sort(ctx context.Context, extents []dev.Extent) ([]int, error) {
	r, err := d.call(ctx, request{Op: opSort, Extents: extents})
	if err != nil {
		return nil, err
	}
	return r.Order, nil
}

func (d *drive) Status(ctx context.Context) (dev.DriveStatus, error) {
	r, err := d.call(ctx, request{Op: opStatus})
	if r == nil || r.Status == nil {
		return dev.DriveStatus{}, err
	}
	return *r.Status, err
}

func (d *drive) Reserve(ctx context.Context, holder string, force bool) error {
	return d.do(ctx, request{Op: opReserve, Name: holder, Flag: force})
}

func (d *drive) Load(ctx context.Context) error   { return d.do(ctx, request{Op: opLoad}) }
func (d *drive) Unload(ctx context.Context) error { return d.do(ctx, request{Op: opUnload}) }
func (d *drive) Rewind(ctx context.Context) error { return d.do(ctx, request{Op: opRewind}) }
func (d *drive) Erase(ctx context.Context) error  { return d.do(ctx, request{Op: opErase}) }

func (d *drive) Locate(ctx context.Context, block int64) error {
	return d.do(ctx, request{Op: opLocate, A: block})
}

func (d *drive) Space(ctx context.Context, filemarks int) error {
	return d.do(ctx, request{Op: opSpace, A: int64(filemarks)})
}

func (d *drive) SpaceToEnd(ctx context.Context) error {
	return d.do(ctx, request{Op: opSpaceToEnd})
}

func (d *drive) WriteFilemarks(ctx context.Context, n int, immediate bool) error {
	return d.do(ctx, request{Op: opFilemarks, A: int64(n), Flag: immediate})
}

func (d *drive) Position(ctx context.Context) (dev.Position, error) {
	r, err := d.call(ctx, request{Op: opPosition})
	if r == nil || r.Position == nil {
		return dev.Position{}, err
	}
	return *r.Position, err
}

func (d *drive) Write(ctx context.Context, p []byte) error {
	if id, at, ok := d.client.find(p); ok {
		return d.do(ctx, request{Op: opWrite, Region: id, Offset: at, Length: int64(len(p))})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	id, at, err := d.room(len(p))
	if err != nil {
		return err
	}
	copy(d.scratch, p)
	return d.do(ctx, request{Op: opWrite, Region: id, Offset: at, Length: int64(len(p))})
}

// Read reads one block; of a longer one than p it reads what fits, as a drive does.
func (d *drive) Read(ctx context.Context, p []byte) (int, error) {
	if id, at, ok := d.client.find(p); ok {
		r, err := d.call(ctx, request{Op: opRead, Region: id, Offset: at, Length: int64(len(p))})
		return count(r, len(p)), err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(p), dev.MaxBlock) // no block is longer
	id, at, err := d.room(n)
	if err != nil {
		return 0, err
	}
	r, err := d.call(ctx, request{Op: opRead, Region: id, Offset: at, Length: int64(n)})
	return copy(p, d.scratch[:count(r, n)]), err
}

// count is the number of bytes that a reply says were read, if that can be.
func count(r *reply, most int) int {
	if r == nil || r.N < 0 || r.N > int64(most) {
		return 0
	}
	return int(r.N)
}

// room makes the handle's own region, the first time, and finds it. Its pages
// exist only once they are used.
func (d *drive) room(n int) (id uint32, at int64, err error) {
	if n > dev.MaxBlock {
		return 0, 0, &dev.Error{Device: d.name, Op: dev.OpWrite, Err: fmt.Errorf("a block of %d bytes: at most %d: %w", n, dev.MaxBlock, dev.ErrNotSupported)}
	}
	if d.scratch == nil {
		fd, mem, err := newScratch(dev.MaxBlock)
		if err != nil {
			return 0, 0, err
		}
		err = d.client.RegisterRegion(fd, mem)
		if err = errors.Join(err, unix.Close(fd)); err != nil {
			return 0, 0, errors.Join(err, unix.Munmap(mem))
		}
		d.scratch = mem
	}
	id, at, _ = d.client.find(d.scratch)
	return id, at, nil
}

// Close lets go of the handle. Reservation, position and medium stay.
func (d *drive) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.scratch != nil {
		d.client.ForgetRegion(d.scratch)
		unix.Munmap(d.scratch) //nolint:errcheck // the process goes on without it
		d.scratch = nil
	}
	_, err := d.send(&request{Op: opClose})
	return err
}
