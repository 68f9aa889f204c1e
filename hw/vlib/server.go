package vlib

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/hw/clock"
)

// Config is what a library's process is started with.
type Config struct {
	// Open makes the library: it runs in the process of the task that ctx carries.
	Open func(ctx context.Context) (dev.Library, error)
	Log  *slog.Logger // nil is slog.Default
}

// Serve opens the library and answers on l until ctx ends; then it lets commands
// that have begun end, makes what was written durable, and returns. It closes l.
func Serve(ctx context.Context, cfg Config, l *net.UnixListener) error {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	ctx = clock.Context(ctx, "library")
	lib, err := cfg.Open(ctx)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	s := &server{lib: lib, log: cfg.Log, conns: map[*net.UnixConn]bool{}}
	stop := context.AfterFunc(ctx, func() { l.Close() }) //nolint:errcheck // Accept reports it
	defer stop()
	err = s.accept(ctx, l)
	if ctx.Err() != nil {
		err = nil // it was told to end
	}
	s.closeAll()
	s.running.Wait()
	return errors.Join(err, lib.Close(ctx))
}

// writeLimit is how long a client may leave replies unread.
const writeLimit = 10 * time.Second

// server answers for one library.
type server struct {
	lib     dev.Library
	log     *slog.Logger
	running sync.WaitGroup // connections

	mu    sync.Mutex
	conns map[*net.UnixConn]bool
}

func (s *server) accept(ctx context.Context, l *net.UnixListener) error {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return errors.Join(err, closeQuiet(l))
		}
		if err := checkPeer(c); err != nil {
			s.log.Warn("a connection to the library was refused", "err", err)
			c.Close() //nolint:errcheck // it was not used
			continue
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.running.Add(1)
		rt.Go(rt.WithoutCancel(ctx), "library connection", func(ctx context.Context) {
			defer s.running.Done()
			s.serve(ctx, c)
		})
	}
}

// closeQuiet closes what a context's or a peer's end may have closed already.
func closeQuiet(c io.Closer) error {
	if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (s *server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.CloseRead() //nolint:errcheck // replies under way still go out
	}
}

// serve answers one connection until it ends; then it waits for its commands.
func (s *server) serve(ctx context.Context, c *net.UnixConn) {
	p := &peer{server: s, conn: c, handles: map[uint32]any{}, regions: map[uint32]*mapping{}, slots: make(chan struct{}, maxInFlight)}
	rights := &withRights{conn: c}
	if err := p.read(ctx, rights); err != nil && !errors.Is(err, net.ErrClosed) {
		s.log.Warn("a client of the library is cut off", "err", err)
	}
	p.running.Wait()
	rights.close()
	for _, m := range p.regions {
		m.unmap()
	}
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	c.Close() //nolint:errcheck // nothing is lost with it
}

// peer is one connection.
type peer struct {
	*server
	conn    *net.UnixConn
	running sync.WaitGroup // requests
	slots   chan struct{}  // bounds the requests under way

	write sync.Mutex // of frames

	mu      sync.Mutex
	handles map[uint32]any // dev.Drive or dev.Changer
	last    uint32
	regions map[uint32]*mapping
}

// read takes requests until the connection ends. Each is answered by a task of
// its own: a robot's move takes long, and a status is wanted meanwhile.
func (p *peer) read(ctx context.Context, rights *withRights) error {
	in := bufio.NewReaderSize(rights, 4096)
	var buf []byte
	for {
		var q request
		var err error
		if buf, err = readFrame(in, buf, &q); err != nil {
			return ended(err)
		}
		if q.Op == opRegion { // here, because the descriptor belongs to this frame
			p.answer(&reply{ID: q.ID, Err: toWire(p.region(&q, rights.take()))})
			continue
		}
		p.slots <- struct{}{}
		p.running.Add(1)
		rt.Go(ctx, "library request", func(ctx context.Context) {
			defer p.running.Done()
			r := p.do(ctx, &q)
			r.ID = q.ID
			p.answer(r)
			<-p.slots
		})
	}
}

// ended is nil for the ways in which a client may leave, killed or not.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return err
}

// answer writes a reply. If the client is gone nobody misses it.
func (p *peer) answer(r *reply) {
	b, err := encodeFrame(r)
	if err != nil {
		b, err = encodeFrame(&reply{ID: r.ID, Err: toWire(err)})
	}
	if err != nil {
		p.log.Error("a reply of the library cannot be written", "err", err)
		return
	}
	p.write.Lock()
	defer p.write.Unlock()
	p.conn.SetWriteDeadline(time.Now().Add(writeLimit)) //nolint:errcheck // see above
	p.conn.Write(b)                                     //nolint:errcheck // see above
}

// region takes a region over.
func (p *peer) region(q *request, fd int) error {
	if fd < 0 {
		return errors.New("a region came without its descriptor")
	}
	defer unix.Close(fd) //nolint:errcheck // the mapping stays
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.regions[q.Region]; known || len(p.regions) >= maxRegions {
		return fmt.Errorf("region %d is known, or the %d allowed are used", q.Region, maxRegions)
	}
	mem, err := mapRegion(fd, q.Length)
	if err != nil {
		return err
	}
	p.regions[q.Region] = &mapping{mem: mem}
	return nil
}

// mapping is a region in this process.
type mapping struct {
	mem  []byte
	uses int  // commands under way
	gone bool // forgotten: to be unmapped after the last use
}

func (m *mapping) unmap() {
	unix.Munmap(m.mem) //nolint:errcheck // the process goes on without it
	m.mem = nil
}

// block is the memory that a read or a write is about, until done is called.
func (p *peer) block(q *request) (b []byte, done func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.regions[q.Region]
	if m == nil || q.Offset < 0 || q.Length < 0 || q.Offset > int64(len(m.mem)) || q.Length > int64(len(m.mem))-q.Offset {
		return nil, nil, fmt.Errorf("%d bytes at %d of region %d: there is no such memory", q.Length, q.Offset, q.Region)
	}
	m.uses++
	return m.mem[q.Offset : q.Offset+q.Length : q.Offset+q.Length], func() { p.release(m) }, nil
}

func (p *peer) release(m *mapping) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m.uses--
	if m.gone && m.uses == 0 {
		m.unmap()
	}
}

func (p *peer) forget(id uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.regions[id]
	if m == nil {
		return
	}
	delete(p.regions, id)
	m.gone = true
	if m.uses == 0 {
		m.unmap()
	}
}

// do does what a request asks for.
func (p *peer) do(ctx context.Context, q *request) *reply {
	switch q.Op {
	case opOpenDrive:
		d, err := p.lib.Drive(ctx, q.Name)
		return p.open(d, err)
	case opOpenChanger:
		c, err := p.lib.Changer(ctx, q.Name)
		r := p.open(c, err)
		if m, ok := c.(dev.Overlapping); ok {
			r.Moves = m.Moves()
		}
		return r
	case opForget:
		p.forget(q.Region)
		return &reply{}
	}
	if q.Op >= opInject {
		return p.manage(ctx, q)
	}
	p.mu.Lock()
	h := p.handles[q.Handle]
	if q.Op == opClose {
		delete(p.handles, q.Handle)
	}
	p.mu.Unlock()
	switch d := h.(type) {
	case dev.Drive:
		return p.drive(ctx, d, q)
	case dev.Changer:
		return p.changer(ctx, d, q)
	}
	return &reply{Err: toWire(fmt.Errorf("handle %d is not open", q.Handle))}
}

func (p *peer) open(h any, err error) *reply {
	if err != nil {
		return &reply{Err: toWire(err)}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.handles) >= maxHandles {
		return &reply{Err: toWire(fmt.Errorf("one client has %d handles open", maxHandles))}
	}
	p.last++
	p.handles[p.last] = h
	return &reply{N: int64(p.last)}
}

// drive does an operation of a drive.
func (p *peer) drive(ctx context.Context, d dev.Drive, q *request) *reply {
	r := &reply{}
	var err error
	switch q.Op {
	case opClose:
		err = d.Close()
	case opStatus:
		var s dev.DriveStatus
		s, err = d.Status(ctx)
		r.Status = &s
	case opReserve:
		err = d.Reserve(ctx, q.Name, q.Flag)
	case opLoad:
		err = d.Load(ctx)
	case opUnload:
		err = d.Unload(ctx)
	case opRewind:
		err = d.Rewind(ctx)
	case opLocate:
		err = d.Locate(ctx, q.A)
	case opSpace:
		err = d.Space(ctx, int(q.A))
	case opSpaceToEnd:
		err = d.SpaceToEnd(ctx)
	case opPosition:
		var at dev.Position
		at, err = d.Position(ctx)
		r.Position = &at
	case opRead, opWrite:
		r.N, err = p.transfer(ctx, d, q)
	case opFilemarks:
		err = d.WriteFilemarks(ctx, int(q.A), q.Flag)
	case opErase:
		err = d.Erase(ctx)
	case opSort:
		err = dev.ErrNotSupported
		if s, ok := d.(dev.Sorter); ok {
			r.Order, err = s.Sort(ctx, q.Extents)
		}
	default:
		err = fmt.Errorf("operation %d is none of a drive's: %w", q.Op, dev.ErrNotSupported)
	}
	r.Err = toWire(err)
	return r
}

func (p *peer) transfer(ctx context.Context, d dev.Drive, q *request) (int64, error) {
	b, done, err := p.block(q)
	if err != nil {
		return 0, err
	}
	defer done()
	if q.Op == opWrite {
		return 0, d.Write(ctx, b)
	}
	n, err := d.Read(ctx, b)
	return int64(n), err
}

// changer does an operation of the robot.
func (p *peer) changer(ctx context.Context, c dev.Changer, q *request) *reply {
	r := &reply{}
	var err error
	switch q.Op {
	case opClose:
		err = c.Close()
	case opMove:
		err = c.Move(ctx, int(q.A), int(q.B))
	case opRescan:
		if s, ok := c.(dev.Rescanner); ok { // one that always knows need not
			err = s.Rescan(ctx)
		}
	case opInventory:
		r.Elements, err = c.Inventory(ctx)
		first := max(min(q.A, int64(len(r.Elements))), 0)
		r.Elements = r.Elements[first:]
		if len(r.Elements) > pageLen {
			r.Elements, r.More = r.Elements[:pageLen], true
		}
	default:
		err = fmt.Errorf("operation %d is none of a robot's: %w", q.Op, dev.ErrNotSupported)
	}
	r.Err = toWire(err)
	return r
}

// manage does what an operator or a test asks of the library itself.
func (p *peer) manage(ctx context.Context, q *request) *reply {
	r := &reply{}
	var err error
	switch q.Op {
	case opInject:
		if q.Fault == nil {
			err = errors.New("no fault was given")
			break
		}
		f := q.Fault
		p.lib.Inject(dev.Fault{Device: f.Device, Op: f.Op, Skip: f.Skip, Times: f.Times, Delay: f.Delay,
			Err: f.Err.err(), Done: f.Done, Drop: f.Drop})
	case opClearFaults:
		p.lib.ClearFaults()
	case opPowerCycle:
		err = p.lib.PowerCycle(ctx, q.Name)
	case opStats:
		robot, drives := p.lib.Stats()
		r.Robot, r.Drives = &robot, drives
	case opTakeOut:
		r.Name, err = p.lib.TakeOut(ctx, int(q.B))
	case opPutIn:
		err = p.lib.PutIn(ctx, q.Name, int(q.B))
	default:
		err = fmt.Errorf("operation %d is unknown: %w", q.Op, dev.ErrNotSupported)
	}
	r.Err = toWire(err)
	return r
}
