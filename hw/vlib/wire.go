package vlib

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"capstan/core/dev"
	"capstan/core/pbx"
)

// A frame is its body's length, four bytes big-endian, and the body: CBOR of a
// request or a reply. A request of operation opRegion comes with one descriptor
// (SCM_RIGHTS) on the bytes of its frame.
const (
	maxFrame    = 1 << 20
	pageLen     = 1024    // elements of an inventory in one reply
	maxRegion   = 4 << 30 // bytes of one region
	maxRegions  = 256     // of one connection
	maxHandles  = 1024
	maxInFlight = 64 // requests of one connection that the server works at
)

type op uint8

const (
	opOpenDrive op = iota + 1
	opOpenChanger
	opClose
	opRegion
	opForget
	opStatus
	opReserve
	opLoad
	opUnload
	opRewind
	opLocate
	opSpace
	opSpaceToEnd
	opPosition
	opRead
	opWrite
	opFilemarks
	opErase
	opSort
	opInventory
	opMove
	opRescan
	opInject
	opClearFaults
	opPowerCycle
	opStats
	opTakeOut
	opPutIn
)

// request asks for one operation. Which fields mean something depends on it.
type request struct {
	ID     uint64 `cbor:"i"`
	Op     op     `cbor:"o"`
	Handle uint32 `cbor:"h,omitempty"` // of the drive or robot; given by an open
	Name   string `cbor:"n,omitempty"` // open: of the device; reserve: of the holder
	Flag   bool   `cbor:"f,omitempty"` // reserve: force; filemarks: immediate
	A      int64  `cbor:"a,omitempty"` // locate, space, filemarks: how far; move: from; inventory: first
	B      int64  `cbor:"b,omitempty"` // move: to; a mail slot
	Region uint32 `cbor:"r,omitempty"` // read, write: where the block is
	Offset int64  `cbor:"p,omitempty"`
	Length int64  `cbor:"l,omitempty"` // region: its size
	Fault  *fault `cbor:"x,omitempty"` // inject

	Extents []dev.Extent `cbor:"z,omitempty"` // sort
}

// reply answers the request with the same ID.
type reply struct {
	ID       uint64           `cbor:"i"`
	Err      *condition       `cbor:"e,omitempty"`
	N        int64            `cbor:"n,omitempty"` // read: bytes; open: the handle
	Status   *dev.DriveStatus `cbor:"s,omitempty"`
	Position *dev.Position    `cbor:"p,omitempty"`
	Elements []dev.Element    `cbor:"m,omitempty"`
	More     bool             `cbor:"o,omitempty"` // inventory: there are more elements
	Robot    *dev.RobotStats  `cbor:"r,omitempty"`
	Drives   []dev.DriveStats `cbor:"d,omitempty"`
	Name     string           `cbor:"b,omitempty"` // take out: the barcode
	Moves    int              `cbor:"a,omitempty"` // open: how many a robot takes at a time
	Order    []int            `cbor:"w,omitempty"` // sort
}

// fault is a dev.Fault on the wire.
type fault struct {
	Device string        `cbor:"d,omitempty"`
	Op     string        `cbor:"o,omitempty"`
	Skip   int           `cbor:"s,omitempty"`
	Times  int           `cbor:"n,omitempty"`
	Delay  time.Duration `cbor:"w,omitempty"`
	Err    *condition    `cbor:"e,omitempty"`
	Done   bool          `cbor:"y,omitempty"`
	Drop   bool          `cbor:"l,omitempty"`
}

// condition is an error on the wire.
type condition struct {
	Name   string    `cbor:"n,omitempty"` // of the condition of package dev that it wraps
	Device string    `cbor:"d,omitempty"`
	Op     string    `cbor:"o,omitempty"`
	Sense  dev.Sense `cbor:"s,omitempty"`
	Text   string    `cbor:"t"`
}

// conditions are the errors that keep their identity on the wire.
var conditions = []struct {
	name string
	err  error
}{
	{"not ready", dev.ErrNotReady},
	{"no medium", dev.ErrNoMedium},
	{"filemark", dev.ErrFilemark},
	{"end of data", dev.ErrEndOfData},
	{"beginning", dev.ErrBeginning},
	{"early warning", dev.ErrEarlyWarning},
	{"volume overflow", dev.ErrVolumeOverflow},
	{"medium", dev.ErrMedium},
	{"hardware", dev.ErrHardware},
	{"write protected", dev.ErrWriteProtected},
	{"cleaning", dev.ErrCleaning},
	{"reservation", dev.ErrReservation},
	{"position lost", dev.ErrPositionLost},
	{"block too long", dev.ErrBlockTooLong},
	{"incompatible", dev.ErrIncompatible},
	{"source empty", dev.ErrSourceEmpty},
	{"destination full", dev.ErrDestinationFull},
	{"bad element", dev.ErrBadElement},
	{"removal prevented", dev.ErrRemovalPrevented},
	{"not supported", dev.ErrNotSupported},
	{"gone", dev.ErrGone},
	{"not loaded", dev.ErrNotLoaded},
	{"operator", dev.ErrOperator},
	{"cleaning cartridge", dev.ErrCleaningCartridge},
	{"protection", dev.ErrProtection},
	{"encryption", dev.ErrEncryption},
	{"medium changed", dev.ErrMediumChanged},
	{"inventory changed", dev.ErrInventoryChanged},
	{"attention", dev.ErrAttention},
	{"aborted", dev.ErrAborted},
	{"programmable warning", dev.ErrProgrammableWarning},
}

func toWire(err error) *condition {
	if err == nil {
		return nil
	}
	c := &condition{Text: err.Error()}
	for _, k := range conditions {
		if errors.Is(err, k.err) {
			c.Name = k.name
			break
		}
	}
	var e *dev.Error
	if errors.As(err, &e) {
		c.Device, c.Op, c.Sense, c.Text = e.Device, e.Op, e.Sense, e.Err.Error()
	}
	return c
}

func (c *condition) err() error {
	if c == nil {
		return nil
	}
	var err error = &remote{text: c.Text}
	for _, k := range conditions {
		if k.name == c.Name {
			err = &remote{text: c.Text, is: k.err}
			if c.Text == k.err.Error() {
				err = k.err
			}
		}
	}
	if c.Device == "" {
		return err
	}
	return &dev.Error{Device: c.Device, Op: c.Op, Sense: c.Sense, Err: err}
}

// remote is an error of the library's process.
type remote struct {
	text string
	is   error // the condition, or nil
}

func (e *remote) Error() string { return e.text }
func (e *remote) Unwrap() error { return e.is }

// encodeFrame writes a frame.
func encodeFrame(v any) ([]byte, error) {
	body, err := pbx.Encode(v)
	if err != nil {
		return nil, err
	}
	if len(body) > maxFrame {
		return nil, fmt.Errorf("a frame of %d bytes: at most %d are possible", len(body), maxFrame)
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	return append(b, body...), nil
}

// readFrame reads a frame into v, using buf if it is large enough; it returns
// the buffer for the next call.
func readFrame(r io.Reader, buf []byte, v any) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return buf, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return buf, fmt.Errorf("a frame of %d bytes: at most %d are allowed", n, maxFrame)
	}
	if uint32(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return buf, err
	}
	return buf, pbx.Decode(buf, v)
}
