package vlib

import (
	"context"

	"capstan/core/dev"
)

// manage asks something of the library itself.
func (c *Client) manage(ctx context.Context, q request) (*reply, error) {
	k, err := c.connected(ctx)
	if err != nil {
		return nil, err
	}
	return k.call(&q)
}

// Inject makes operations of the library fail: see [dev.Fault].
func (c *Client) Inject(ctx context.Context, f dev.Fault) error {
	_, err := c.manage(ctx, request{Op: opInject, Fault: &fault{Device: f.Device, Op: f.Op, Skip: f.Skip,
		Times: f.Times, Delay: f.Delay, Err: toWire(f.Err), Done: f.Done, Drop: f.Drop}})
	return err
}

// ClearFaults forgets every fault that was not taken yet.
func (c *Client) ClearFaults(ctx context.Context) error {
	_, err := c.manage(ctx, request{Op: opClearFaults})
	return err
}

// PowerCycle resets a drive: see [dev.Library].
func (c *Client) PowerCycle(ctx context.Context, drive string) error {
	_, err := c.manage(ctx, request{Op: opPowerCycle, Name: drive})
	return err
}

// Stats are the robot's and the drives' statistics since the library's process began.
func (c *Client) Stats(ctx context.Context) (dev.RobotStats, []dev.DriveStats, error) {
	r, err := c.manage(ctx, request{Op: opStats})
	if err != nil || r.Robot == nil {
		return dev.RobotStats{}, nil, err
	}
	return *r.Robot, r.Drives, nil
}

// TakeOut takes the cartridge out of a mail slot: see [dev.Library].
func (c *Client) TakeOut(ctx context.Context, address int) (barcode string, err error) {
	r, err := c.manage(ctx, request{Op: opTakeOut, B: int64(address)})
	if err != nil {
		return "", err
	}
	return r.Name, nil
}

// PutIn puts a cartridge into a mail slot: see [dev.Library].
func (c *Client) PutIn(ctx context.Context, barcode string, address int) error {
	_, err := c.manage(ctx, request{Op: opPutIn, Name: barcode, B: int64(address)})
	return err
}
