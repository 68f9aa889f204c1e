package scsi

import (
	"context"
	"encoding/binary"

	"capstan/core/scsi"
)

// Key names a holder of persistent reservations (SPC-5 5.14).
type Key uint64

// Reservation is a logical unit's persistent reservation.
type Reservation struct {
	Held bool
	Key  Key
	Type byte
}

// ExclusiveAccess is the type of reservation that keeps every other initiator from
// anything that reads, writes or moves the medium.
const ExclusiveAccess = 0x03

// ParseKeys reads the answer to READ KEYS.
func ParseKeys(b []byte) ([]Key, error) {
	if len(b) < 8 {
		return nil, short("reservation keys", b, 8)
	}
	n := int64(binary.BigEndian.Uint32(b[4:]))
	b = b[8:min(int64(len(b)), 8+n)]
	var all []Key
	for ; len(b) >= 8; b = b[8:] {
		all = append(all, Key(binary.BigEndian.Uint64(b)))
	}
	return all, nil
}

// ParseReservation reads the answer to READ RESERVATION.
func ParseReservation(b []byte) (Reservation, error) {
	if len(b) < 8 {
		return Reservation{}, short("reservation", b, 8)
	}
	if binary.BigEndian.Uint32(b[4:]) == 0 {
		return Reservation{}, nil
	}
	if len(b) < 24 {
		return Reservation{}, short("reservation", b, 24)
	}
	return Reservation{Held: true, Key: Key(binary.BigEndian.Uint64(b[8:])), Type: b[21] & 0x0F}, nil
}

const (
	opReserveIn  = "PERSISTENT RESERVE IN"
	opReserveOut = "PERSISTENT RESERVE OUT"
)

func reserveIn(action byte, n int) []byte {
	return []byte{scsi.PersistentReserveIn, action, 0, 0, 0, 0, 0, byte(n >> 8), byte(n), 0}
}

// Keys are the keys that are registered with the unit.
func (d *Device) Keys(ctx context.Context) ([]Key, error) {
	b := make([]byte, 8<<10)
	n, err := d.Ask(ctx, opReserveIn, reserveIn(0, len(b)), b)
	if err != nil {
		return nil, err
	}
	all, err := ParseKeys(b[:n])
	if err != nil {
		return nil, d.Error(opReserveIn, err)
	}
	return all, nil
}

// Reservation is the reservation of the unit.
func (d *Device) Reservation(ctx context.Context) (Reservation, error) {
	b := make([]byte, 24)
	n, err := d.Ask(ctx, opReserveIn, reserveIn(1, len(b)), b)
	if err != nil {
		return Reservation{}, err
	}
	r, err := ParseReservation(b[:n])
	if err != nil {
		return r, d.Error(opReserveIn, err)
	}
	return r, nil
}

// ReserveAction is a service action of PERSISTENT RESERVE OUT.
type ReserveAction byte

// The service actions that are used.
const (
	Register        ReserveAction = 0x00
	Reserve         ReserveAction = 0x01
	Release         ReserveAction = 0x02
	PreemptAbort    ReserveAction = 0x05
	RegisterIgnored ReserveAction = 0x06 // register and ignore the existing key
)

func reserveOut(a ReserveAction, key, action Key) (cdb, out []byte) {
	out = make([]byte, 24)
	binary.BigEndian.PutUint64(out, uint64(key))
	binary.BigEndian.PutUint64(out[8:], uint64(action))
	return []byte{scsi.PersistentReserveOut, byte(a), ExclusiveAccess, 0, 0, 0, 0, 0, byte(len(out)), 0}, out
}

// ReserveOut changes registrations and the reservation, which is for exclusive access.
// key is this initiator's, action the service action's key.
func (d *Device) ReserveOut(ctx context.Context, a ReserveAction, key, action Key) error {
	cdb, out := reserveOut(a, key, action)
	for try := 1; ; try++ {
		r, err := d.Do(ctx, opReserveOut, &scsi.Command{CDB: cdb, Out: out})
		if r.Sense.Key != scsi.UnitAttention || try == tries { // with one, the command was not begun
			return err
		}
	}
}
