// Package txxcd controls a robot: it is the one role that moves cartridges, on
// the robot control host of the library (the end of B10's and R12's way).
package txxcd

import (
	"context"

	"capstan/core/dev"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
)

// Service is the role's name on the robot control host.
const Service = "txxcd"

// Move asks the robot of a library to carry a cartridge between elements.
type Move struct {
	Library string `json:"library"`
	From    int    `json:"from"`
	To      int    `json:"to"`
}

// The methods of txxcd.
var (
	MoveMedium = pbx.Declare[Move, struct{}](Service, "Move", pbx.Media, pbx.Step("B10", "R12"))
	// ReturnMedium is the same on the way home.
	ReturnMedium = pbx.Declare[Move, struct{}](Service, "Return", pbx.Media, pbx.Step("", "R15"))
	// Rescan has the robot look at every element; one that always knows need not.
	Rescan    = pbx.Declare[string, struct{}](Service, "Rescan", pbx.Media)
	Inventory = pbx.Declare[string, []dev.Element](Service, "Inventory", pbx.Media|pbx.Master, pbx.Query())
)

// Server is the role.
type Server struct {
	devices dev.Finder
	lock    rt.Lock
	hands   map[string]*rt.Semaphore // of each library: as many commands at a time as its robot takes
}

// New makes the role for the robots that devices gives.
func New(ctx context.Context, devices dev.Finder) *Server {
	return &Server{devices: devices, lock: rt.NewLock(ctx), hands: map[string]*rt.Semaphore{}}
}

// Mux is what the role answers.
func (s *Server) Mux(ctx context.Context) *pbx.Mux {
	mux := pbx.NewMux(ctx, Service, 0)
	move := func(ctx context.Context, _ pbx.Peer, q Move) (struct{}, error) {
		return struct{}{}, s.with(ctx, q.Library, func(c dev.Changer) error { return c.Move(ctx, q.From, q.To) })
	}
	pbx.Handle(mux, MoveMedium, move)
	pbx.Handle(mux, ReturnMedium, move)
	pbx.Handle(mux, Rescan, func(ctx context.Context, _ pbx.Peer, library string) (struct{}, error) {
		return struct{}{}, s.with(ctx, library, func(c dev.Changer) error {
			if r, ok := c.(dev.Rescanner); ok {
				return r.Rescan(ctx)
			}
			return nil
		})
	})
	pbx.Handle(mux, Inventory, func(ctx context.Context, _ pbx.Peer, library string) (es []dev.Element, err error) {
		err = s.with(ctx, library, func(c dev.Changer) (err error) {
			es, err = c.Inventory(ctx)
			return err
		})
		return es, err
	})
	return mux
}

// with does something with a library's robot, once it takes another command.
func (s *Server) with(ctx context.Context, library string, fn func(c dev.Changer) error) error {
	hand, err := s.hand(ctx, library)
	if err == nil {
		if err := hand.Acquire(ctx); err != nil {
			return err
		}
		defer hand.Release()
		err = s.open(ctx, library, fn)
	}
	if err != nil {
		return status.Errorf(status.MediaRequest, "library %s: %w", library, err)
	}
	return nil
}

func (s *Server) open(ctx context.Context, library string, fn func(c dev.Changer) error) error {
	c, err := s.devices.Changer(ctx, library)
	if err != nil {
		return err
	}
	defer c.Close()
	return fn(c)
}

// hand is what the commands of a library's robot wait for. A robot that says nothing
// takes one at a time.
func (s *Server) hand(ctx context.Context, library string) (*rt.Semaphore, error) {
	s.lock.Lock()
	hand := s.hands[library]
	s.lock.Unlock()
	if hand != nil {
		return hand, nil
	}
	moves := 1
	if err := s.open(ctx, library, func(c dev.Changer) error {
		if m, ok := c.(dev.Overlapping); ok {
			moves = m.Moves()
		}
		return nil
	}); err != nil {
		return nil, err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.hands[library] == nil { // another may have asked meanwhile
		s.hands[library] = rt.NewSemaphore(ctx, moves)
	}
	return s.hands[library], nil
}
