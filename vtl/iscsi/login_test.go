package iscsi_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"capstan/core/iscsi"
	"capstan/core/scsi"
	initiator "capstan/hw/iscsi"
	target "capstan/vtl/iscsi"
)

// The result of each key is the one that RFC 7143, chapter 13, gives.
func TestKeys(t *testing.T) {
	tests := []struct{ key, offer, answer string }{
		{"HeaderDigest", "CRC32C,None", "CRC32C"},
		{"HeaderDigest", "None,CRC32C", "None"},
		{"DataDigest", "X-other,None", "None"},
		{"DataDigest", "X-other", "Reject"},
		{"MaxConnections", "8", "4"},
		{"MaxConnections", "1", "1"},
		{"InitialR2T", "No", "No"},
		{"InitialR2T", "Yes", "Yes"},
		{"ImmediateData", "Yes", "Yes"},
		{"ImmediateData", "No", "No"},
		{"MaxBurstLength", "262144", "262144"},
		{"MaxBurstLength", "16777215", "16776704"},
		{"MaxBurstLength", "511", "Reject"},
		{"FirstBurstLength", "0x1000", "4096"},
		{"DefaultTime2Wait", "2", "2"},
		{"DefaultTime2Retain", "20", "0"},
		{"MaxOutstandingR2T", "9", "4"},
		{"DataPDUInOrder", "No", "Yes"},
		{"DataSequenceInOrder", "No", "Yes"},
		{"ErrorRecoveryLevel", "2", "0"},
		{"IFMarker", "Yes", "No"},
		{"OFMarkInt", "1~2", "Irrelevant"},
		{"TaskReporting", "FastAbort,RFC3720", "RFC3720"},
		{"X-com.example.new", "1", "NotUnderstood"},
		{"InitialR2T", "Maybe", "Reject"},
		{"MaxRecvDataSegmentLength", "4096", "1048576"}, // declared by each end
	}
	at, _ := serve(t, target.Config{Units: newFake()})
	for _, tt := range tests {
		t.Run(tt.key+"="+tt.offer, func(t *testing.T) {
			if got := connect(t, at).login(iscsi.Pair{Key: tt.key, Value: tt.offer}); got[tt.key] != tt.answer {
				t.Errorf("answer %q, want %q", got[tt.key], tt.answer)
			}
		})
	}
}

// What is wrong with a login is answered with the status that RFC 7143, 11.13.5,
// has for it.
func TestLoginsRefused(t *testing.T) {
	key := func(k, v string) iscsi.Pair { return iscsi.Pair{Key: k, Value: v} }
	at, _ := serve(t, target.Config{Units: newFake()})
	tests := []struct {
		name  string
		do    func(r *raw) pdu
		wants uint16
	}{
		{"no initiator", func(r *raw) pdu { return r.ask(toFullFeature, key("TargetName", targetName)) }, 0x0207},
		{"no target", func(r *raw) pdu { return r.ask(toFullFeature, key("InitiatorName", ourName)) }, 0x0207},
		{"bad name", func(r *raw) pdu { return r.ask(toFullFeature, key("InitiatorName", "host 1")) }, 0x0200},
		{"another target", func(r *raw) pdu {
			return r.ask(toFullFeature, key("InitiatorName", ourName), key("TargetName", targetName+"x"))
		}, 0x0203},
		{"bad type", func(r *raw) pdu { return r.ask(toFullFeature, normal(key("SessionType", "Odd"))...) }, 0x0209},
		{"a key twice", func(r *raw) pdu {
			return r.ask(toFullFeature, normal(key("ErrorRecoveryLevel", "0"), key("ErrorRecoveryLevel", "0"))...)
		}, 0x0200},
		{"CHAP where none is needed", func(r *raw) pdu { return r.ask(0, normal(key("AuthMethod", "CHAP"))...) }, 0x0201},
		{"first burst longer than burst", func(r *raw) pdu {
			return r.ask(toFullFeature, normal(key("MaxBurstLength", "4096"), key("FirstBurstLength", "8192"))...)
		}, 0x0200},
		{"segment too short", func(r *raw) pdu {
			return r.ask(toFullFeature, normal(key("MaxRecvDataSegmentLength", "100"))...)
		}, 0x0200},
		{"no such session", func(r *raw) pdu {
			r.tsih = 77
			return r.ask(toFullFeature, key("InitiatorName", ourName), key("TargetName", targetName))
		}, 0x020A},
		{"no text", func(r *raw) pdu { return r.ask(toFullFeature, key("=", "")) }, 0x020B},
		{"a stage that is none", func(r *raw) pdu { return r.ask(iscsi.Final|2<<2|3, normal()...) }, 0x020B},
		{"transit backwards", func(r *raw) pdu { return r.ask(iscsi.Final|1<<2, normal()...) }, 0x020B},
		{"goes on and transits", func(r *raw) pdu { return r.ask(toFullFeature|iscsi.Continue, normal()...) }, 0x020B},
		{"no login", func(r *raw) pdu {
			r.send(r.command(0, iscsi.Final, 0, make([]byte, 6)), nil)
			return r.want(iscsi.LoginResponse)
		}, 0x020B},
		{"too much text", func(r *raw) pdu {
			return r.ask(0, normal(key("X-long", strings.Repeat("a", 8200)))...)
		}, 0x020B},
		{"text without end", func(r *raw) pdu {
			for range 4 {
				r.ask(iscsi.Continue, key("X-long", strings.Repeat("a", 8100)))
			}
			return r.ask(iscsi.Continue, key("X-long", strings.Repeat("a", 8150)))
		}, 0x020B},
		{"too new", func(r *raw) pdu {
			h := iscsi.New(iscsi.LoginRequest, toFullFeature, 0)
			h[2], h[3] = 9, 8
			r.send(h, nil)
			return r.want(iscsi.LoginResponse)
		}, 0x0205},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := connect(t, at)
			if p := tt.do(r); p.Half(36) != tt.wants {
				t.Errorf("status %04Xh, want %04Xh", p.Half(36), tt.wants)
			}
			r.wantClosed()
		})
	}
}

// Text may come in several PDUs, cut anywhere.
func TestLoginTextInPieces(t *testing.T) {
	at, _ := serve(t, target.Config{Units: newFake()})
	r := connect(t, at)
	text := iscsi.AppendText(nil, normal(iscsi.Pair{Key: "MaxBurstLength", Value: "65536"})...)
	var last pdu
	for i := 0; i < len(text); i += 11 {
		flags := uint8(iscsi.Continue | iscsi.OperationalStage<<2)
		if i+11 >= len(text) {
			flags = toFullFeature
		}
		h := iscsi.New(iscsi.LoginRequest, flags, 0)
		h[8] = 0x80
		h.Set(24, r.cmdSN)
		r.send(h, text[i:min(len(text), i+11)])
		if last = r.want(iscsi.LoginResponse); last.Half(36) != 0 {
			t.Fatalf("status %04Xh", last.Half(36))
		}
	}
	if !strings.Contains(string(last.data), "MaxBurstLength=65536\x00") || !last.Has(iscsi.Final) {
		t.Errorf("the last response: % X %q", last.Header, last.data)
	}
}

// Who opens connections and does not log in keeps nobody out: the oldest makes room.
func TestLoginsMakeRoom(t *testing.T) {
	at, _ := serve(t, target.Config{Units: newFake(), Limits: target.Limits{Logins: 2}})
	a, b := connect(t, at), connect(t, at)
	in := connect(t, at)
	in.login()
	a.wantClosed()
	b.login()
}

// A login has a time limit, and a byte now and then does not make it longer.
func TestLoginsThatDoNotEnd(t *testing.T) {
	at, _ := serve(t, target.Config{Units: newFake(), Timeouts: target.Timeouts{Login: time.Second}})
	silent, slow := connect(t, at), connect(t, at)
	go func() {
		for {
			if _, err := slow.nc.Write([]byte{0x43}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	silent.wantClosed()
	slow.wantClosed()
	connect(t, at).login()
}

// A session belongs to the account that was proven: another cannot take its place by
// using its name, nor join it.
func TestSessionsBelongToAccounts(t *testing.T) {
	const one, two = "the secret of one", "the secret of two"
	at, _ := serve(t, target.Config{Units: newFake(), Accounts: map[string]string{"one": one, "two": two}})
	cfg := initiator.Config{Address: at, User: "one", Secret: one}
	s := dial(t, cfg)
	cfg.User, cfg.Secret, cfg.Initiator, cfg.Target = "two", two, ourName, targetName
	if _, err := initiator.Dial(context.Background(), cfg); !errors.Is(err, initiator.ErrLogin) || !strings.Contains(err.Error(), "0202") {
		t.Errorf("another account, with the name of the first: %v", err)
	}
	do(t, s.LUN(0), &scsi.Command{CDB: make([]byte, 6)})
	cfg.ISID = 1
	beside, err := initiator.Dial(context.Background(), cfg)
	if err != nil {
		t.Fatalf("beside it: %v", err)
	}
	beside.Close()
}

// A login with the same name and ISID takes the place of the session that is there;
// one with another ISID stands beside it.
func TestReinstatement(t *testing.T) {
	f := newFake()
	at, _ := serve(t, target.Config{Units: f})
	first, beside, again := connect(t, at), connect(t, at), connect(t, at)
	first.login()
	beside.isid = 1
	beside.login()
	again.login()
	first.wantClosed()
	if again.tsih == first.tsih {
		t.Errorf("session %d takes the place of session %d", again.tsih, first.tsih)
	}
	for _, r := range []*raw{beside, again} {
		r.send(r.command(0, iscsi.Final, 0, make([]byte, 6)), nil)
		if p := r.want(iscsi.Response); p.Header[3] != 0 {
			t.Errorf("a command in session %d: % X", r.tsih, p.Header)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.lost) != 1 || f.lost[0] != ourName+",i,0x800000000000" {
		t.Errorf("nexuses that are gone: %v", f.lost)
	}
}
