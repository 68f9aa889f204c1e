package tape

import (
	"context"
	"errors"

	"capstan/core/dev"
)

// A drive without LOCATE, or one that never knows where it is, goes to a place by
// reading from the beginning and counting. It is slow, and it cannot go wrong: a
// block that is passed has been read.

// walkBuffer holds the blocks that are passed. A longer one is passed all the same.
const walkBuffer = 1 << 20

func (d *Drive) walkStart(ctx context.Context, back bool) ([]byte, error) {
	if back || !d.known || !d.marked {
		if err := d.rewind(ctx); err != nil {
			return nil, err
		}
	}
	return make([]byte, min(walkBuffer, d.maxBlock)), nil
}

// stride passes one object.
func (d *Drive) stride(ctx context.Context, p []byte) error {
	_, err := d.read(ctx, p)
	if errors.Is(err, dev.ErrFilemark) || errors.Is(err, dev.ErrBlockTooLong) {
		return nil
	}
	return err
}

func (d *Drive) walkTo(ctx context.Context, op string, block int64) error {
	p, err := d.walkStart(ctx, block < d.at.Block)
	for err == nil && d.at.Block < block {
		err = d.stride(ctx, p)
	}
	return asOp(err, op)
}

func (d *Drive) walkToEnd(ctx context.Context) error {
	p, err := d.walkStart(ctx, false)
	for err == nil {
		err = d.stride(ctx, p)
	}
	if errors.Is(err, dev.ErrEndOfData) {
		return nil
	}
	return asOp(err, dev.OpSpace)
}

// walkMarks is SPACE over filemarks.
func (d *Drive) walkMarks(ctx context.Context, n int) error {
	if !d.marked { // count the marks before the position
		if err := d.walkTo(ctx, dev.OpSpace, d.at.Block); err != nil {
			return err
		}
	}
	if n < 0 {
		to := d.at.File + int64(n)
		if to < 0 {
			return errors.Join(d.fail(dev.OpSpace, dev.ErrBeginning), d.rewind(ctx))
		}
		return d.walkTo(ctx, dev.OpSpace, d.marks[to])
	}
	p := make([]byte, min(walkBuffer, d.maxBlock))
	for want := d.at.File + int64(n); d.at.File < want; {
		if err := d.stride(ctx, p); err != nil {
			return asOp(err, dev.OpSpace)
		}
	}
	return nil
}

// asOp is an error as that of the operation which the walk stands for.
func asOp(err error, op string) error {
	var e *dev.Error
	if errors.As(err, &e) {
		c := *e
		c.Op = op
		return &c
	}
	return err
}
