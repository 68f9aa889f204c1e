// Package txxd is the robot daemon of a host with drives in a library: it takes
// a mount from ltid, finds the cartridge, and has txxcd on the robot control
// host move it (B10, R12).
package txxd

import (
	"context"

	"capstan/core/dev"
	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/core/trace"
	"capstan/core/txxcd"
)

// Service is the role's name on a media server.
const Service = "txxd"

// Mount asks for a cartridge in a drive element.
type Mount struct {
	Library string `json:"library"`
	Control string `json:"control"` // the robot control host
	Barcode string `json:"barcode"`
	Element int    `json:"element"` // of the drive
}

// Mounted is the answer. A cartridge that was in the drive already is There; if another
// one is, whose barcode is Other, nothing was moved.
type Mounted struct {
	There bool   `json:"there,omitempty"`
	Other string `json:"other,omitempty"`
}

// Unmount asks to take what is in a drive element back to where it came from.
type Unmount struct {
	Library string `json:"library"`
	Control string `json:"control"`
	Element int    `json:"element"`
}

// The methods of txxd.
var (
	MountIt   = pbx.Declare[Mount, Mounted](Service, "Mount", pbx.Media, pbx.Step("B10", "R12"))
	UnmountIt = pbx.Declare[Unmount, struct{}](Service, "Unmount", pbx.Media, pbx.Step("", "R15"))
)

// Mux is what the role answers.
func Mux(ctx context.Context) *pbx.Mux {
	mux := pbx.NewMux(ctx, Service, 0)
	pbx.Handle(mux, MountIt, mount)
	pbx.Handle(mux, UnmountIt, unmount)
	return mux
}

func mount(ctx context.Context, _ pbx.Peer, q Mount) (Mounted, error) {
	control := pbx.At(q.Control, txxcd.Service)
	elements, err := txxcd.Inventory.Call(ctx, control, q.Library)
	if err != nil {
		return Mounted{}, err
	}
	var at *dev.Element
	for i := range elements {
		switch e := &elements[i]; {
		case !e.Full:
		case e.Address == q.Element && e.Barcode != q.Barcode && e.Barcode != "":
			return Mounted{Other: e.Barcode}, nil
		case e.Barcode == q.Barcode && at == nil:
			at = e
		}
	}
	switch {
	case at == nil:
		return Mounted{}, status.Errorf(status.MediaMisplaced, "cartridge %s is not in library %s: put it in and take an inventory", q.Barcode, q.Library)
	case at.Address == q.Element:
		trace.Note(ctx, step(ctx), trace.There, q.Barcode)
		return Mounted{There: true}, nil
	case at.Kind == dev.DriveElement:
		return Mounted{}, status.Errorf(status.MediaInUse, "cartridge %s is in the drive at element %d of library %s", q.Barcode, at.Address, q.Library)
	}
	_, err = txxcd.MoveMedium.Call(ctx, control, txxcd.Move{Library: q.Library, From: at.Address, To: q.Element})
	return Mounted{}, err
}

// step is the step of the flow that a mount is part of.
func step(ctx context.Context) string {
	switch j := trace.JobOf(ctx); {
	case j.ID == 0:
		return ""
	case j.Restore:
		return "R12"
	}
	return "B10"
}

func unmount(ctx context.Context, _ pbx.Peer, q Unmount) (struct{}, error) {
	control := pbx.At(q.Control, txxcd.Service)
	elements, err := txxcd.Inventory.Call(ctx, control, q.Library)
	if err != nil {
		return struct{}{}, err
	}
	home, full := 0, false
	free := 0
	for _, e := range elements {
		switch {
		case e.Address == q.Element:
			home, full = e.Source, e.Full
		case e.Kind == dev.Slot && !e.Full && e.Problem == "" && free == 0:
			free = e.Address
		}
	}
	if !full {
		return struct{}{}, nil
	}
	for _, e := range elements {
		if e.Address == home && e.Full {
			home = 0 // somebody put another cartridge there
		}
	}
	if home == 0 {
		home = free
	}
	if home == 0 {
		return struct{}{}, status.Errorf(status.MediaRequest, "library %s has no free slot for the cartridge in element %d: take one out", q.Library, q.Element)
	}
	return txxcd.ReturnMedium.Call(ctx, control, txxcd.Move{Library: q.Library, From: q.Element, To: home})
}
