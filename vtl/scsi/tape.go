package target

import (
	"context"
	"errors"
	"time"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/vtl"
)

// tape is the device server of one drive.
type tape struct {
	server
	deck *vtl.Deck

	blockLength int    // of fixed blocks; 0 is variable
	unbuffered  bool   // each write waits for the medium
	warned      bool   // programmable early warning was told in this zone
	loads       int64  // of the deck, that were noticed
	resets      int64  // same
	cleaning    bool   // the drive asked to be cleaned, which was noticed
	overwrite   int64  // the object that ALLOW OVERWRITE allows, -1 is none
	crypt       crypto // what keys do to data
	counters    counters

	buf []byte // a sealed block
}

// counters are what the drive's log pages tell since the last load.
type counters struct {
	blocksWritten, blocksRead     int64
	writeErrors, readErrors       int64
	bytesToMedium, bytesFromHost  int64
	bytesFromMedium, bytesToHost  int64
	filemarks, mounts, loadErrors int64
}

func newTape(t *Target, d *vtl.Deck) *tape {
	u := &tape{deck: d, overwrite: -1}
	u.server = server{
		target: t, kind: scsi.Sequential, name: d.Name(), serial: d.Serial(), product: "VTL " + d.Model().Name,
		task: d.Do, refresh: u.refresh, status: u.ready, fault: d.TakeFault, cleared: u.cleared, pass: d.Pass, suffer: d.Suffer, kept: func(bool) {},
	}
	u.vital = u.vitalTape()
	u.pages = u.modePages()
	u.logs = u.logPages()
	u.register(u.common()...)
	u.register(u.tapeCommands()...)
	return u
}

// refresh notices a reset, a medium that was loaded, and a drive that asks to be
// cleaned.
func (u *tape) refresh() {
	if n := u.deck.Resets(); n != u.resets {
		u.resets = n
		u.persistent = persistent{} // none lasts through a loss of power
		u.wasReset(powerOn)
	}
	if n := u.deck.Loads(); n != u.loads {
		u.loaded(nil)
	}
	if asks := u.deck.CleaningNeeded(); asks != u.cleaning {
		if u.cleaning = asks; asks {
			u.alert(alertCleanNow)
		}
	}
}

// loaded follows a load; the initiator that gave the command is not told.
func (u *tape) loaded(by *LUN) {
	u.loads = u.deck.Loads()
	u.counters = counters{mounts: u.counters.mounts + 1}
	u.warned, u.overwrite = false, -1
	u.crypt.unloaded()
	u.attend(mediumChanged, by)
}

// cleared follows a reset.
func (u *tape) cleared() {
	u.blockLength, u.unbuffered, u.warned, u.overwrite = 0, false, false, -1
	u.crypt = crypto{}
}

// ready says whether a medium is there and loaded.
func (u *tape) ready() error {
	switch u.deck.State() {
	case vtl.DeckEmpty:
		return sense(scsi.NotReady, 0x3A, 0x00)
	case vtl.DeckEjected:
		if m, ok := u.deck.Medium(); ok && m.Cleaning {
			return sense(scsi.NotReady, 0x30, 0x03)
		}
		return sense(scsi.NotReady, 0x04, 0x02)
	case vtl.DeckLoading, vtl.DeckUnloading:
		return sense(scsi.NotReady, 0x04, 0x01)
	}
	return nil
}

// becomingReady is [tape.ready] while the medium is being threaded.
func (u *tape) becomingReady() error {
	if u.deck.State() == vtl.DeckLoading {
		return sense(scsi.NotReady, 0x04, 0x01)
	}
	return nil
}

// load threads the medium; its conditions are those of SSC-5.
func (u *tape) load(ctx context.Context, by *LUN) error {
	err := u.deck.Load(ctx)
	switch {
	case err == nil:
		if u.deck.Loads() != u.loads {
			u.loaded(by)
		}
	case errors.Is(err, dev.ErrIncompatible), errors.Is(err, dev.ErrMedium):
		u.alert(alertLoadFailure)
		u.counters.loadErrors++
	}
	return err
}

// minute and the others are how long commands may take: what IBM's LTO-9 drives
// tell of themselves, rounded up.
const (
	minute      = time.Minute
	toTransfer  = 40 * minute
	toMove      = 50 * minute
	toRewind    = 10 * minute
	toLoad      = 130 * minute // with the first-load calibration
	toEraseLong = 21 * time.Hour
)
