package nbemm

import (
	"context"
	"errors"
	"testing"

	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/sim/simtest"
	simstore "capstan/sim/store"
)

// inMaster runs fn with a new nbemm.
func inMaster(t *testing.T, fn func(ctx context.Context, s *Server, db store.DB) error) {
	t.Helper()
	simtest.Run(t, func(ctx context.Context) {
		db := simstore.NewDB(Schemas()...)
		s, err := New(ctx, db)
		if err == nil {
			err = fn(ctx, s, db)
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// A robot's control host changes when the old one or the new one says so; no third host
// is believed.
func TestControlHost(t *testing.T) {
	inMaster(t, func(ctx context.Context, s *Server, db store.DB) error {
		for _, c := range []struct {
			from, control string
			code          status.Code
			is            string
		}{
			{"media1", "media1", status.OK, "media1"},
			{"media2", "media1", status.OK, "media1"},
			{"media3", "media2", status.NotAllowed, "media1"},
			{"media1", "media2", status.OK, "media2"},
			{"media1", "media2", status.OK, "media2"},
			{"media3", "media3", status.OK, "media3"},
			{"media2", "media3", status.OK, "media3"},
		} {
			_, err := s.hello(ctx, pbx.Peer{Identity: pbx.Identity{Name: c.from}}, Hello{Libraries: []Library{{Name: "lib", MediaServer: c.control}}})
			if got := status.Of(err, 0); got != c.code {
				t.Errorf("%s says that %s controls the robot: %v, want status %d", c.from, c.control, err, c.code)
			}
			if err := db.View(ctx, func(tx store.Tx) error {
				l, _, err := libraries.Get(tx, "lib")
				if l.MediaServer != c.is {
					t.Errorf("%s says that %s controls the robot: it is %s's, want %s's", c.from, c.control, l.MediaServer, c.is)
				}
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// A restore waits for its media server's drives, but not if that has none.
func TestReadWhereNoDriveIs(t *testing.T) {
	inMaster(t, func(ctx context.Context, s *Server, db store.DB) error {
		for _, c := range []struct {
			rule   string
			drives []Drive
			code   status.Code
		}{
			{"nobody has said which drives there are", nil, status.NoDrive},
			{"only others have drives", []Drive{{Name: "d0", MediaServer: "media2", Up: true}}, status.DrivesDown},
			{"its drive is down", []Drive{{Name: "d0", MediaServer: "media2", Up: true}, {Name: "d1", MediaServer: "media1"}}, status.NoDrive},
			{"its drive is up", []Drive{{Name: "d1", MediaServer: "media1", Up: true}}, status.OK},
		} {
			if err := db.Update(ctx, func(tx store.Tx) error {
				err := media.Put(tx, "CAP001", Media{ID: "CAP001", Library: "lib"})
				for _, d := range c.drives {
					d.Library = "lib"
					err = errors.Join(err, drives.Put(tx, d.Name, d))
				}
				return err
			}); err != nil {
				return err
			}
			_, err := s.allocate(ctx, pbx.Peer{}, Request{Job: 1, Try: 1, Media: "CAP001", Server: "media1"})
			if got := status.Of(err, 0); got != c.code {
				t.Errorf("%s: %v, want status %d", c.rule, err, c.code)
			}
		}
		return nil
	})
}
