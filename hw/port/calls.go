package port

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/fxamacker/cbor/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"

	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/hw/clock"
)

// Calls are unary gRPC calls of one method, callMethod, whose messages are
// envelopes; its version changes when an older peer could not read them.
const (
	callService = "capstan.pbx.v1"
	callMethod  = "/" + callService + "/Call"

	// maxEnvelope is a body and what surrounds it.
	maxEnvelope = pbx.MaxMessage + 64<<10
	maxDetail   = 16 << 10

	// A connection is tried every 10 s while calls wait on it, and given up when
	// nothing came for another 50: lost after 60 s.
	keepaliveEvery = 10 * time.Second
	keepaliveWait  = 50 * time.Second

	window = 4 << 20 // of HTTP/2, fixed: a message fits
)

// envelope is a message on the wire, in CBOR. A request has a method; a reply
// has a code, and a body or a detail.
type envelope struct {
	Method string      `cbor:"m,omitempty"`
	Head   pbx.Head    `cbor:"h"`
	Body   []byte      `cbor:"b,omitempty"` // what pbx.Encode wrote
	Code   status.Code `cbor:"c,omitempty"`
	Detail string      `cbor:"d,omitempty"`
}

var (
	envelopeEnc = must(cbor.CoreDetEncOptions().EncMode())
	envelopeDec = must(cbor.DecOptions{
		MaxArrayElements: 64, MaxMapPairs: 64, MaxNestedLevels: 8, UTF8: cbor.UTF8DecodeInvalid,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func encodeRequest(q *pbx.Request) (*envelope, error) {
	body, err := pbx.Encode(q.Body)
	return &envelope{Method: q.Method, Head: q.Head, Body: body}, err
}

// encodeReply never fails: a reply that cannot be encoded becomes one that says so.
func encodeReply(method string, p *pbx.Reply) *envelope {
	e := &envelope{Head: pbx.Head{Stamp: p.Stamp}, Code: p.Code, Detail: p.Detail[:min(len(p.Detail), maxDetail)]}
	if p.Code != status.OK {
		return e
	}
	body, err := pbx.Encode(p.Body)
	if err != nil {
		e.Code, e.Detail = status.SystemError, "reply of "+method+": "+err.Error()
		return e
	}
	e.Body = body
	return e
}

func (e *envelope) request() *pbx.Request {
	return &pbx.Request{Method: e.Method, Head: e.Head, Body: pbx.Wire(e.Body)}
}

func (e *envelope) reply() *pbx.Reply {
	return &pbx.Reply{Stamp: e.Head.Stamp, Body: pbx.Wire(e.Body), Code: e.Code, Detail: e.Detail}
}

// codec has gRPC write envelopes in CBOR.
type codec struct{}

func (codec) Name() string                    { return "cbor" }
func (codec) Marshal(v any) ([]byte, error)   { return envelopeEnc.Marshal(v) }
func (codec) Unmarshal(b []byte, v any) error { return envelopeDec.Unmarshal(b, v) }

// call is what the stats handlers learn of one call.
type call struct {
	sent  bool       // client: the request is on its way
	reply *pbx.Reply // server: what is being answered
}

type callKey struct{}

// clientStats notes whether a request was given to a connection: before that,
// nothing can have happened; after it, anything.
type clientStats struct{ noConnStats }

func (clientStats) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (clientStats) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if c, _ := ctx.Value(callKey{}).(*call); c != nil {
		if _, ok := s.(*stats.OutHeader); ok {
			c.sent = true
		}
	}
}

// serverStats runs what a handler put off until its reply was on its way: when
// the trailer, the last of a reply, was queued behind the rest. It runs beside
// the handler, which is over for gRPC then, so that it may stop the service.
type serverStats struct{ noConnStats }

func (serverStats) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, callKey{}, &call{})
}

func (serverStats) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.OutTrailer); !ok {
		return
	}
	if c, _ := ctx.Value(callKey{}).(*call); c != nil && c.reply != nil {
		go c.reply.Sent()
	}
}

type noConnStats struct{}

func (noConnStats) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (noConnStats) HandleConn(context.Context, stats.ConnStats)                       {}

// vouched gives gRPC the identity that a connection proved before gRPC saw it.
type vouched struct{}

type vouchedInfo struct {
	credentials.CommonAuthInfo
	id pbx.Identity
}

func (vouchedInfo) AuthType() string { return "capstan" }

func (vouched) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	k, ok := c.(*knownConn)
	if !ok {
		return nil, nil, fmt.Errorf("a %T has proved no identity", c)
	}
	info := vouchedInfo{id: k.id}
	info.SecurityLevel = credentials.PrivacyAndIntegrity
	return c, info, nil
}

func (vouched) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("this end answers calls")
}

func (vouched) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "capstan"}
}
func (vouched) Clone() credentials.TransportCredentials { return vouched{} }
func (vouched) OverrideServerName(string) error         { return nil }

// newServer makes the gRPC server of one service. Its handlers run in tasks
// whose context is that of Serve, not of the connection: a request whose
// connection breaks is finished, and its repetition gets the reply. Only a
// handler that changes nothing ends with its caller.
func newServer(ctx context.Context, service string, mux *pbx.Mux) *grpc.Server {
	s := grpc.NewServer(
		grpc.Creds(vouched{}), grpc.ForceServerCodec(codec{}), grpc.StatsHandler(serverStats{}),
		grpc.MaxRecvMsgSize(maxEnvelope), grpc.MaxSendMsgSize(maxEnvelope),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(2*window),
		grpc.MaxHeaderListSize(16<<10), grpc.ConnectionTimeout(patience),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveEvery, Timeout: keepaliveWait}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveEvery / 2, PermitWithoutStream: true}),
	)
	name := "answer " + service
	answer := func(_ any, rpc context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var req envelope
		if err := dec(&req); err != nil {
			return nil, err
		}
		p, _ := peer.FromContext(rpc)
		info, ok := p.AuthInfo.(vouchedInfo)
		if !ok {
			return nil, errors.New("the connection has proved no identity")
		}
		hctx := clock.Context(ctx, name)
		if !mux.Changes(req.Method) {
			// Somebody who waits for news in vain must not keep the service open.
			task, cancel := rt.WithCancel(hctx)
			defer cancel(nil)
			defer context.AfterFunc(rpc, func() { cancel(rpc.Err()) })()
			hctx = task
		}
		rep := mux.Serve(hctx, info.id, req.request())
		if c, _ := rpc.Value(callKey{}).(*call); c != nil {
			c.reply = rep
		}
		return encodeReply(req.Method, rep), nil
	}
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: callService, HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Call", Handler: answer}},
	}, struct{}{})
	return s
}
