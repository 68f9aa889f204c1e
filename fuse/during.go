package fuse

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sync/singleflight"

	"capstan/core/rt"
	"capstan/core/status"
)

// patience is how long a request of the kernel goes on before it is looked whether it was
// interrupted, and between looks. Most are answered sooner.
const patience = 200 * time.Millisecond

// errInterrupted is a request that was given up by who made it.
var errInterrupted = errors.New("the request was interrupted")

// during is a context for one request of the kernel, which ends when who made it is to
// end: whoever waits for an answer of the daemon cannot even be killed before it comes.
// The kernel interrupts a request for every signal that its program handles, and only
// once. A program knows of no interruption of stat(2) or readlink(2), and would take a
// file for missing: so it goes on for signals that the program outlives.
func (s *system) during(fctx context.Context, name string) (ctx context.Context, end func()) {
	c, ok := fuse.FromContext(fctx)
	return s.watched(fctx, name, func() bool { return !ok || ending(c.Pid) })
}

// unlessInterrupted is a context for one request of the kernel, which any signal ends:
// for calls such as open(2) of which programs know that.
func (s *system) unlessInterrupted(fctx context.Context, name string) (ctx context.Context, end func()) {
	return s.watched(fctx, name, func() bool { return true })
}

// watched is a context that ends when fctx has ended and who made the request has given
// up, or is ended.
func (s *system) watched(fctx context.Context, name string, givenUp func() bool) (ctx context.Context, end func()) {
	ctx, cancel := rt.WithCancel(s.task(name))
	ended := make(chan struct{})
	watch := time.AfterFunc(patience, func() {
		select {
		case <-fctx.Done():
		case <-ended:
			return
		}
		for !givenUp() {
			select {
			case <-time.After(patience):
			case <-ended:
				return
			}
		}
		cancel(errInterrupted)
	})
	return ctx, func() {
		watch.Stop()
		close(ended)
		cancel(nil)
	}
}

// shared does a work once for all who want it at the same time. It goes on when one of
// them is interrupted, as those who wait for the holder of a lock could not be.
func shared[T any](ctx context.Context, g *singleflight.Group, key string, do func() (T, error)) (T, error) {
	var none T
	select {
	case r := <-g.DoChan(key, func() (any, error) { return do() }):
		if r.Err != nil {
			return none, r.Err
		}
		return r.Val.(T), nil
	case <-ctx.Done():
		return none, rt.Cause(ctx)
	}
}

// errno is the number that a program gets for an error; what it says is logged. ctx is of
// the request: what was interrupted has failed for that.
func (s *system) errno(ctx context.Context, what string, err error) syscall.Errno {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errInterrupted) || errors.Is(rt.Cause(ctx), errInterrupted):
		return syscall.EINTR
	}
	s.log.Warn(what, "error", err)
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	switch status.Of(err, status.RestoreFailed) {
	case status.NoImage, status.NotFound:
		return syscall.ENOENT
	case status.ClientNotAllowed:
		return syscall.EACCES
	}
	return syscall.EIO
}

// seldom says something that may happen very often: once a minute.
type seldom struct {
	mu   sync.Mutex
	said time.Time
}

func (o *seldom) say(log *slog.Logger, what string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.said) >= time.Minute {
		o.said = time.Now()
		log.Warn(what, args...)
	}
}
