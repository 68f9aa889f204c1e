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

// Unmount asks to take what is in a drive element back to where it came from.
type Unmount struct {
	Library string `json:"library"`
	Control string `json:"control"`
	Element int    `json:"element"`
}

// The methods of txxd.
var (
	MountIt   = pbx.Declare[Mount, struct{}](Service, "Mount", pbx.Media, pbx.Step("B10", "R12"))
	UnmountIt = pbx.Declare[Unmount, struct{}](Service, "Unmount", pbx.Media, pbx.Step("", "R15"))
)

// Mux is what the role answers.
func Mux(ctx context.Context) *pbx.Mux {
	mux := pbx.NewMux(ctx, Service, 0)
	pbx.Handle(mux, MountIt, mount)
	pbx.Handle(mux, UnmountIt, unmount)
	return mux
}

func mount(ctx context.Context, _ pbx.Peer, q Mount) (struct{}, error) {
	control := pbx.At(q.Control, txxcd.Service)
	elements, err := txxcd.Inventory.Call(ctx, control, q.Library)
	if err != nil {
		return struct{}{}, err
	}
	for _, e := range elements {
		if !e.Full || e.Barcode != q.Barcode {
			continue
		}
		switch {
		case e.Address == q.Element:
			trace.Note(ctx, step(ctx), trace.There, q.Barcode)
			return struct{}{}, nil
		case e.Kind == dev.DriveElement:
			return struct{}{}, status.Errorf(status.MediaInUse, "cartridge %s is in the drive at element %d of library %s", q.Barcode, e.Address, q.Library)
		}
		return txxcd.MoveMedium.Call(ctx, control, txxcd.Move{Library: q.Library, From: e.Address, To: q.Element})
	}
	return struct{}{}, status.Errorf(status.MediaMisplaced, "cartridge %s is not in library %s: put it in and take an inventory", q.Barcode, q.Library)
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
