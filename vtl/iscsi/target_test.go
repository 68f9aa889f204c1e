package iscsi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"capstan/core/scsi"
	initiator "capstan/hw/iscsi"
	"capstan/vtl/iscsi"
)

// What is written comes back, whatever was agreed on, and at sizes around every
// limit: immediate data, first burst, segment.
func TestBlocksComeBack(t *testing.T) {
	sizes := []int{1, 3, 512, 8191, 8192, 8193, 65536, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3<<20 + 5}
	for _, digests := range []bool{false, true} {
		for _, quiet := range []bool{false, true} {
			t.Run(fmt.Sprintf("digests %v, unsolicited %v", digests, !quiet), func(t *testing.T) {
				at, _ := serve(t, iscsi.Config{Units: newFake()})
				s := dial(t, initiator.Config{Address: at, HeaderDigest: digests, DataDigest: digests, NoUnsolicited: quiet})
				u := s.LUN(1)
				for i, n := range sizes {
					if r := do(t, u, &scsi.Command{CDB: transfer(scsi.Write6, n), Out: pattern(n, byte(i))}); r.Status != scsi.Good || r.N != n {
						t.Fatalf("writing %d bytes: %+v", n, r)
					}
				}
				for i, n := range sizes {
					in := make([]byte, n)
					if r := do(t, u, &scsi.Command{CDB: transfer(scsi.Read6, n), In: in}); r.Status != scsi.Good || r.N != n {
						t.Fatalf("reading %d bytes: %+v", n, r)
					}
					if !bytes.Equal(in, pattern(n, byte(i))) {
						t.Errorf("the block of %d bytes is another", n)
					}
				}
			})
		}
	}
}

// A device's sense data arrives, with the data that came beside it and the residual
// count of what did not.
func TestSenseAndResidual(t *testing.T) {
	at, _ := serve(t, iscsi.Config{Units: newFake()})
	u := dial(t, initiator.Config{Address: at}).LUN(0)
	do(t, u, &scsi.Command{CDB: transfer(scsi.Write6, 1000), Out: pattern(1000, 1)})
	in := make([]byte, 4096)
	r := do(t, u, &scsi.Command{CDB: transfer(scsi.Read6, len(in)), In: in})
	sense, err := scsi.ParseSense(r.Sense)
	if err != nil || r.Status != scsi.CheckCondition || r.N != 1000 || sense.Information != 3096 {
		t.Errorf("a shorter block: %+v, sense %v, %v", r, &sense, err)
	}
	if !bytes.Equal(in[:1000], pattern(1000, 1)) {
		t.Error("the data beside the sense is another")
	}
	r = do(t, u, &scsi.Command{CDB: transfer(scsi.Read6, len(in)), In: in})
	if sense, err = scsi.ParseSense(r.Sense); err != nil || sense.Key != scsi.BlankCheck || r.N != 0 {
		t.Errorf("the end of data: %+v, sense %v, %v", r, &sense, err)
	}
	r = do(t, u, &scsi.Command{CDB: []byte{scsi.Inquiry, 0, 0, 0, 255, 0}, In: make([]byte, 255)})
	if r.Status != scsi.Good || r.N != 36 {
		t.Errorf("INQUIRY: %+v, want 36 bytes of 255", r)
	}
	r = do(t, dial(t, initiator.Config{Address: at, ISID: 9}).LUN(300), &scsi.Command{CDB: make([]byte, 6)})
	if sense, err = scsi.ParseSense(r.Sense); err != nil || sense.ASC != 0x25 {
		t.Errorf("a unit that is not there: %+v, %v", r, err)
	}
}

func TestChap(t *testing.T) {
	const secret, own = "a secret of 24 bytes ...", "another one of 20 b."
	at, _ := serve(t, iscsi.Config{Units: newFake(), Accounts: map[string]string{"host1": secret}, MutualName: "tape", MutualSecret: own})
	tests := []struct {
		name string
		cfg  initiator.Config
		ok   bool
	}{
		{"right", initiator.Config{User: "host1", Secret: secret}, true},
		{"right, both ways", initiator.Config{User: "host1", Secret: secret, TargetSecret: own}, true},
		{"wrong secret", initiator.Config{User: "host1", Secret: secret + "!"}, false},
		{"unknown name", initiator.Config{User: "host2", Secret: secret}, false},
		{"no proof", initiator.Config{}, false},
		{"the target is another", initiator.Config{User: "host1", Secret: secret, TargetSecret: "not the target's"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Address, tt.cfg.Initiator, tt.cfg.Target = at, ourName, targetName
			s, err := initiator.Dial(context.Background(), tt.cfg)
			if (err == nil) != tt.ok {
				t.Fatalf("login: %v", err)
			}
			if tt.ok {
				do(t, s.LUN(0), &scsi.Command{CDB: make([]byte, 6)})
				s.Close()
			}
		})
	}
}

func TestDiscovery(t *testing.T) {
	at, _ := serve(t, iscsi.Config{Units: newFake(), Portals: []string{"192.0.2.1:3260", "[2001:db8::1]:3260"}})
	got, err := initiator.Discover(context.Background(), initiator.Config{Address: at, Initiator: ourName})
	if err != nil || fmt.Sprint(got) != "[{"+targetName+" [192.0.2.1:3260 [2001:db8::1]:3260]}]" {
		t.Errorf("discovery: %v, %v", got, err)
	}
	if _, err := initiator.Dial(context.Background(), initiator.Config{Address: at, Initiator: ourName, Target: "iqn.2001-04.com.example:other"}); !errors.Is(err, initiator.ErrLogin) {
		t.Errorf("logging in to a target that is not there: %v", err)
	}
}
