package nbemm

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/store"
)

// What a job gives back is for its unit, those of the same library, and their groups.
func TestSharing(t *testing.T) {
	inMaster(t, func(ctx context.Context, s *Server, db store.DB) error {
		if err := s.Configure(ctx, List{
			Units: []StorageUnit{
				{Name: "lto", Kind: Tape, Library: "lib"}, {Name: "lto-too", Kind: Tape, Library: "lib"}, {Name: "far", Kind: Tape, Library: "other"},
				{Name: "disk", Kind: Disk}, {Name: "disk-too", Kind: Disk},
			},
			Groups: []Group{{Name: "all", Units: []string{"disk", "lto-too"}}, {Name: "farther", Units: []string{"far"}}},
		}); err != nil {
			return err
		}
		return db.View(ctx, func(tx store.Tx) error {
			for _, c := range []struct {
				unit string
				want []string
			}{{"lto", []string{"lto", "lto-too", "all"}}, {"disk", []string{"disk", "all"}}, {"disk-too", []string{"disk-too"}}, {"far", []string{"far", "farther"}}} {
				u, _, err := units.Get(tx, c.unit)
				if err != nil {
					return err
				}
				names, err := sharing(tx, &u)
				if d := cmp.Diff(c.want, names); err != nil || d != "" {
					t.Errorf("%s: %v %s", c.unit, err, d)
				}
			}
			return nil
		})
	})
}
