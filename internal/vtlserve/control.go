package vtlserve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/vtl"
	target "capstan/vtl/scsi"
)

// Request disturbs a library that is offered. What is set is done. Requests and
// replies are JSON, one of each on a connection.
type Request struct {
	Fault      *Fault            `json:"fault,omitempty"`
	Injection  *target.Injection `json:"injection,omitempty"`
	Clear      bool              `json:"clear,omitempty"` // faults and injections that were not taken yet
	Alert      *Alert            `json:"alert,omitempty"`
	PowerCycle string            `json:"power_cycle,omitempty"` // a drive
	TakeOut    int               `json:"take_out,omitempty"`    // a mail slot's element
	PutIn      *PutIn            `json:"put_in,omitempty"`
}

// Fault is a [dev.Fault] with its error by name.
type Fault struct {
	Device    string        `json:"device,omitempty"`
	Op        string        `json:"op,omitempty"`
	Skip      int           `json:"skip,omitempty"`
	Times     int           `json:"times,omitempty"`
	Delay     time.Duration `json:"delay,omitempty"`
	Condition string        `json:"condition,omitempty"` // of [Conditions]; "" is a delay alone
	Done      bool          `json:"done,omitempty"`
	Drop      bool          `json:"drop,omitempty"`
}

// Alert raises a TapeAlert flag of a device.
type Alert struct {
	Device string `json:"device"`
	Flag   int    `json:"flag"` // 1 to 64
}

// PutIn puts a cartridge into a mail slot.
type PutIn struct {
	Barcode string `json:"barcode"`
	Element int    `json:"element"`
}

// Reply is what came of a request.
type Reply struct {
	Error   string `json:"error,omitempty"`
	Barcode string `json:"barcode,omitempty"` // of what was taken out
}

// conditions are the errors of the devices by the names that people give them.
func conditions() map[string]error {
	return map[string]error{
		"not-ready": dev.ErrNotReady, "no-medium": dev.ErrNoMedium, "not-loaded": dev.ErrNotLoaded, "operator": dev.ErrOperator,
		"cleaning-cartridge": dev.ErrCleaningCartridge, "filemark": dev.ErrFilemark, "end-of-data": dev.ErrEndOfData,
		"beginning": dev.ErrBeginning, "early-warning": dev.ErrEarlyWarning, "volume-overflow": dev.ErrVolumeOverflow,
		"medium": dev.ErrMedium, "hardware": dev.ErrHardware, "write-protected": dev.ErrWriteProtected, "cleaning": dev.ErrCleaning,
		"reservation": dev.ErrReservation, "position-lost": dev.ErrPositionLost, "incompatible": dev.ErrIncompatible,
		"source-empty": dev.ErrSourceEmpty, "destination-full": dev.ErrDestinationFull, "bad-element": dev.ErrBadElement,
		"removal-prevented": dev.ErrRemovalPrevented, "not-supported": dev.ErrNotSupported, "gone": dev.ErrGone,
		"protection": dev.ErrProtection, "encryption": dev.ErrEncryption, "medium-changed": dev.ErrMediumChanged,
		"inventory-changed": dev.ErrInventoryChanged, "attention": dev.ErrAttention, "aborted": dev.ErrAborted,
	}
}

// Conditions are the names of the errors that a [Fault] can have, in order.
func Conditions() []string {
	var names []string
	for n := range conditions() {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// controller takes requests.
type controller struct {
	lib     *vtl.Library
	units   *target.Target
	log     *slog.Logger
	running sync.WaitGroup
}

// Bounds of a request.
const (
	maxRequest   = 64 << 10
	requestLimit = 10 * time.Second // for it to come
)

// serve takes requests until the listener is closed. It returns at once.
func (k *controller) serve(ctx context.Context, l net.Listener) {
	k.running.Add(1)
	rt.Go(ctx, "control", func(ctx context.Context) {
		defer k.running.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					k.log.Error("the library's socket fails: it cannot be disturbed any more", "error", err)
				}
				return
			}
			k.running.Add(1)
			rt.Go(ctx, "control request", func(ctx context.Context) {
				defer k.running.Done()
				defer c.Close()
				if err := k.answer(ctx, c); err != nil {
					k.log.Warn("a request to disturb the library was lost", "error", err)
				}
			})
		}
	})
}

func (k *controller) answer(ctx context.Context, c net.Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(requestLimit)); err != nil {
		return err
	}
	var q Request
	in := json.NewDecoder(io.LimitReader(c, maxRequest))
	in.DisallowUnknownFields()
	if err := in.Decode(&q); err != nil {
		return err
	}
	r := Reply{}
	if err := k.do(ctx, &q, &r); err != nil {
		r.Error = err.Error()
	}
	return json.NewEncoder(c).Encode(r)
}

// do carries out a request.
func (k *controller) do(ctx context.Context, q *Request, r *Reply) (err error) {
	if q.Clear {
		k.lib.ClearFaults()
		k.units.ClearInjections()
	}
	if f := q.Fault; f != nil {
		condition := conditions()[f.Condition]
		if condition == nil && f.Condition != "" {
			return fmt.Errorf("no error %q", f.Condition)
		}
		k.lib.Inject(dev.Fault{Device: f.Device, Op: f.Op, Skip: f.Skip, Times: f.Times, Delay: f.Delay, Err: condition, Done: f.Done, Drop: f.Drop})
	}
	if q.Injection != nil {
		k.units.Inject(*q.Injection)
	}
	if a := q.Alert; a != nil {
		if a.Flag < 1 || a.Flag > 64 {
			return fmt.Errorf("TapeAlert flag %d: give 1 to 64", a.Flag)
		}
		err = errors.Join(err, k.units.Alert(ctx, a.Device, a.Flag))
	}
	if q.PowerCycle != "" {
		err = errors.Join(err, k.lib.PowerCycle(ctx, q.PowerCycle))
	}
	if q.TakeOut != 0 {
		barcode, terr := k.lib.TakeOut(ctx, q.TakeOut)
		r.Barcode, err = barcode, errors.Join(err, terr)
	}
	if p := q.PutIn; p != nil {
		err = errors.Join(err, k.lib.PutIn(ctx, p.Barcode, p.Element))
	}
	return err
}

// Disturb sends a request to the library that is offered with a socket.
func Disturb(ctx context.Context, socket string, q *Request) (Reply, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return Reply{}, fmt.Errorf("no library answers at %s; capstan vtl serve tells its socket: %w", socket, err)
	}
	defer c.Close()
	if err := json.NewEncoder(c).Encode(q); err != nil {
		return Reply{}, fmt.Errorf("%s: %w", socket, err)
	}
	var r Reply
	if err := json.NewDecoder(io.LimitReader(c, maxRequest)).Decode(&r); err != nil {
		return Reply{}, fmt.Errorf("the library at %s did not answer: %w", socket, err)
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}
