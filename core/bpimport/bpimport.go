// Package bpimport asks bprd for an import of images from media into the catalog. It
// runs anywhere, as bprestore does.
package bpimport

import (
	"context"

	"capstan/core/bprd"
	"capstan/core/pbx"
	"capstan/core/trace"
)

// Role is the role's name.
const Role = "bpimport"

// Ask requests an import of the master and returns its job's number. The import goes
// on without the caller.
func Ask(ctx context.Context, master string, q bprd.ImportRequest) (int64, error) {
	id, err := bprd.NewID.Call(ctx, pbx.At(master, bprd.Service), struct{}{})
	if err != nil {
		return 0, err
	}
	q.Job = id
	ctx = trace.WithRole(trace.WithJob(ctx, trace.Job{ID: id, Try: 1, Restore: true}), Role)
	_, err = bprd.Import.Call(ctx, pbx.At(master, bprd.Service), q)
	return id, err
}
