// Package bprestore asks bprd for a restore (R1). It runs anywhere: in a
// person's command, in the mounted catalog, in a scenario.
package bprestore

import (
	"context"

	"capstan/core/bprd"
	"capstan/core/pbx"
	"capstan/core/trace"
)

// Role is the role's name.
const Role = "bprestore"

// Ask requests a restore of the master and returns its job's number. The restore
// goes on without the caller.
func Ask(ctx context.Context, master string, q bprd.Request) (int64, error) {
	id, err := bprd.NewID.Call(ctx, pbx.At(master, bprd.Service), struct{}{})
	if err != nil {
		return 0, err
	}
	q.Job = id
	ctx = trace.As(ctx, trace.Job{ID: id, Try: 1, Restore: true}, Role)
	_, err = bprd.Restore.Call(ctx, pbx.At(master, bprd.Service), q)
	return id, err
}
