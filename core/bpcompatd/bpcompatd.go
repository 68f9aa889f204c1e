// Package bpcompatd is how nbjm starts bpbrm on a media server: it takes the
// call on the master and passes it on to that host's PBX (B7).
package bpcompatd

import (
	"context"

	"capstan/core/host"
	"capstan/core/pbx"
)

// Service is the role's name on the master.
const Service = "bpcompatd"

// Start asks for a process on a host.
type Start struct {
	Host string    `json:"host"`
	Spec host.Spec `json:"spec"`
}

// StartIt has the PBX of a host start a process.
var StartIt = pbx.Declare[Start, host.Started](Service, "Start", pbx.Master, pbx.Step("B7", ""))

// Mux is what the role answers.
func Mux(ctx context.Context, epoch uint64) *pbx.Mux {
	mux := pbx.NewMux(ctx, Service, epoch)
	pbx.Handle(mux, StartIt, func(ctx context.Context, _ pbx.Peer, q Start) (host.Started, error) {
		return host.StartMethod.Call(ctx, pbx.At(q.Host, host.Service), q.Spec)
	})
	return mux
}
