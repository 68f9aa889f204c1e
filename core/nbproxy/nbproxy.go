// Package nbproxy is the way by which nbjm reaches bpdbm. It passes on B6 and B15.
// (R10 may ask bpdbm by it, too, what else is relevant: so far nothing is, as the
// neededimage file says all.)
package nbproxy

import (
	"context"

	"capstan/core/bpdbm"
	"capstan/core/image"
	"capstan/core/pbx"
)

// Service is the role's name on the master.
const Service = "nbproxy"

// The methods of nbproxy: bpdbm's, of the same names.
var (
	CreateImage   = pbx.Declare[bpdbm.Create, image.Header](Service, "CreateImage", pbx.Master, pbx.Step("B6", ""))
	CompleteImage = pbx.Declare[bpdbm.Complete, image.Header](Service, "CompleteImage", pbx.Master, pbx.Step("B15", ""))
	AbortImage    = pbx.Declare[string, struct{}](Service, "AbortImage", pbx.Master)
)

// Mux is what the role answers on the master.
func Mux(ctx context.Context, master string, epoch uint64) *pbx.Mux {
	mux := pbx.NewMux(ctx, Service, epoch)
	to := pbx.At(master, bpdbm.Service)
	pass(mux, CreateImage, bpdbm.CreateImage, to)
	pass(mux, CompleteImage, bpdbm.CompleteImage, to)
	pass(mux, AbortImage, bpdbm.AbortImage, to)
	return mux
}

// pass has a method answered by another of the same shape.
func pass[Q, P any](mux *pbx.Mux, m, behind *pbx.Method[Q, P], to pbx.Addr) {
	pbx.Handle(mux, m, func(ctx context.Context, _ pbx.Peer, q Q) (P, error) {
		return behind.Call(ctx, to, q)
	})
}
