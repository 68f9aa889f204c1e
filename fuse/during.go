package fuse

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"

	"capstan/core/rt"
	"capstan/core/status"
)

// patience is how long a request of the kernel goes on though it was interrupted. Those
// that are answered from memory are not watched, and programs that get signals all the
// time go on as on any file system.
const patience = 200 * time.Millisecond

// errInterrupted is a request that was given up by who made it.
var errInterrupted = errors.New("the request was interrupted")

// during is a context for one request of the kernel, which ends when it is interrupted:
// whoever waits for an answer of the daemon cannot even be killed before it comes.
func (s *system) during(fctx context.Context, name string) (ctx context.Context, end func()) {
	ctx, cancel := rt.WithCancel(s.task(name))
	ended := make(chan struct{})
	watch := time.AfterFunc(patience, func() {
		select {
		case <-fctx.Done():
			cancel(errInterrupted)
		case <-ended:
		}
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
