package iscsi

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"capstan/core/dev"
	"capstan/core/iscsi"
)

// Config says whom to log in to, and as whom.
type Config struct {
	Address   string // of the portal, "192.0.2.1:3260"
	Initiator string // our iSCSI name
	Target    string // the target's iSCSI name
	// ISID tells the sessions of one initiator apart: a session with the same one
	// takes the place of the earlier.
	ISID uint32 // 24 bits
	// HeaderDigest and DataDigest ask for CRC32C.
	HeaderDigest, DataDigest bool
	// User and Secret prove us by CHAP, if the target wants that.
	User, Secret string
	// TargetSecret is what the target must prove in its turn; "" does not ask it.
	TargetSecret string
	// NoUnsolicited sends no data before the target asks for it.
	NoUnsolicited bool
	// Timeout is for the login, and for commands that have none of their own; 0 is
	// 30 seconds for a login, and none for commands.
	Timeout time.Duration
}

// What we offer.
const (
	maxReceive = 1 << 20  // bytes of a data segment
	maxBurst   = 16 << 20 // of a sequence
	firstBurst = 1 << 20  // before the target asks
)

// params are what was agreed on.
type params struct {
	maxSend               int
	maxBurst, firstBurst  int
	initialR2T, immediate bool
	header, data          bool // digests
}

// ErrLogin says that a target refuses a login; the text says why.
var ErrLogin = errors.New("the target refuses the login")

// Dial opens a session with a target.
func Dial(ctx context.Context, cfg Config) (*Session, error) {
	l, err := connect(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	if err := l.login(iscsi.Pair{Key: "SessionType", Value: "Normal"}, iscsi.Pair{Key: "TargetName", Value: cfg.Target}); err != nil {
		return nil, errors.Join(fmt.Errorf("logging in to %s at %s: %w", cfg.Target, cfg.Address, err), l.w.nc.Close())
	}
	return newSession(&cfg, l), nil
}

// Target is a target that a portal has told of.
type Target struct {
	Name      string
	Addresses []string // of its portals
}

// Discover asks a portal for its targets. Of the configuration the target is not used.
func Discover(ctx context.Context, cfg Config) ([]Target, error) {
	l, err := connect(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	defer l.w.nc.Close()
	targets, err := l.discover()
	if err != nil {
		return nil, fmt.Errorf("asking %s for its targets: %w", cfg.Address, err)
	}
	return targets, nil
}

// login is the login of one connection.
type login struct {
	cfg    *Config
	w      *wire
	isid   [6]byte
	tsih   uint16
	cmdSN  uint32
	statSN uint32 // expected
	p      params
	proven bool // the target has proven itself
}

func connect(ctx context.Context, cfg *Config) (*login, error) {
	limit := cfg.Timeout
	if limit == 0 {
		limit = 30 * time.Second
	}
	d := net.Dialer{Timeout: limit}
	nc, err := d.DialContext(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("%w: no portal answers at %s: %w", dev.ErrGone, cfg.Address, err)
	}
	if err := nc.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	l := &login{cfg: cfg, w: newWire(nc), cmdSN: 1,
		p: params{maxSend: 8192, maxBurst: 256 << 10, firstBurst: 64 << 10, initialR2T: true, immediate: true}}
	// The random format of an ISID (RFC 7143, 11.12.5).
	l.isid = [6]byte{0x80, 0xCA, 0x95, byte(cfg.ISID >> 16), byte(cfg.ISID >> 8), byte(cfg.ISID)}
	return l, nil
}

func yes(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}

func digest(on bool) string {
	if on {
		return "CRC32C"
	}
	return "None"
}

// login goes through both stages.
func (l *login) login(first ...iscsi.Pair) error {
	method := "None"
	if l.cfg.Secret != "" {
		method = "CHAP,None"
	}
	first = append(first, iscsi.Pair{Key: "InitiatorName", Value: l.cfg.Initiator}, iscsi.Pair{Key: "AuthMethod", Value: method})
	answers, moved, err := l.exchange(iscsi.SecurityStage, iscsi.OperationalStage, l.cfg.Secret == "", first)
	if err != nil {
		return err
	}
	if answers["AuthMethod"] == "CHAP" {
		if moved, err = l.chap(); err != nil {
			return err
		}
	}
	if l.cfg.TargetSecret != "" && !l.proven {
		return errors.New("the target did not prove itself")
	}
	if !moved {
		if _, moved, err = l.exchange(iscsi.SecurityStage, iscsi.OperationalStage, true, nil); err != nil || !moved {
			return errors.Join(errors.New("the target does not leave the security stage"), err)
		}
	}
	offers := []iscsi.Pair{
		{Key: "HeaderDigest", Value: digest(l.cfg.HeaderDigest)}, {Key: "DataDigest", Value: digest(l.cfg.DataDigest)},
		{Key: "MaxRecvDataSegmentLength", Value: strconv.Itoa(maxReceive)},
		{Key: "DefaultTime2Wait", Value: "0"}, {Key: "DefaultTime2Retain", Value: "0"}, {Key: "ErrorRecoveryLevel", Value: "0"},
		{Key: "MaxConnections", Value: "1"}, {Key: "MaxOutstandingR2T", Value: "1"},
		{Key: "InitialR2T", Value: yes(l.cfg.NoUnsolicited)}, {Key: "ImmediateData", Value: yes(!l.cfg.NoUnsolicited)},
		{Key: "MaxBurstLength", Value: strconv.Itoa(maxBurst - 512)}, {Key: "FirstBurstLength", Value: strconv.Itoa(firstBurst)},
		{Key: "DataPDUInOrder", Value: "Yes"}, {Key: "DataSequenceInOrder", Value: "Yes"},
	}
	for range 8 {
		answers, moved, err := l.exchange(iscsi.OperationalStage, iscsi.FullFeature, true, offers)
		if err != nil {
			return err
		}
		if err := l.agree(answers); err != nil {
			return err
		}
		if moved {
			l.w.digests = iscsi.Digests{Header: l.p.header, Data: l.p.data}
			return l.w.nc.SetDeadline(time.Time{})
		}
		offers = nil
	}
	return errors.New("the target does not end the login")
}

// agree takes the answers to our offers, and what the target declares.
func (l *login) agree(answers map[string]string) error {
	for key, v := range map[string]*int{"MaxRecvDataSegmentLength": &l.p.maxSend, "MaxBurstLength": &l.p.maxBurst, "FirstBurstLength": &l.p.firstBurst} {
		if s, ok := answers[key]; ok && s != "Irrelevant" {
			n, ok := iscsi.Number(s)
			if !ok || n < 512 || n > 1<<24-1 {
				return fmt.Errorf("the target answers %s=%.40s", key, s)
			}
			*v = int(n)
		}
	}
	for key, v := range map[string]*bool{"HeaderDigest": &l.p.header, "DataDigest": &l.p.data, "InitialR2T": &l.p.initialR2T, "ImmediateData": &l.p.immediate} {
		if s, ok := answers[key]; ok {
			*v = s == "Yes" || s == "CRC32C"
		}
	}
	l.p.maxSend = min(l.p.maxSend, maxReceive) // longer ones bring nothing
	return nil
}

// chap proves us to the target, and the target to us if that was asked for. moved
// says that the target has gone on to the next stage.
func (l *login) chap() (moved bool, err error) {
	// MD5, which every target must know, comes first: tgt looks at no other.
	q, _, err := l.exchange(iscsi.SecurityStage, iscsi.OperationalStage, false, []iscsi.Pair{{Key: "CHAP_A", Value: iscsi.ChapMD5 + "," + iscsi.ChapSHA256}})
	if err != nil {
		return false, err
	}
	id, okID := iscsi.Number(q["CHAP_I"])
	challenge, okC := iscsi.Binary(q["CHAP_C"])
	proof := iscsi.ChapProof(q["CHAP_A"], uint8(id), l.cfg.Secret, challenge)
	if !okID || id > 255 || !okC || proof == nil {
		return false, errors.New("the target's challenge cannot be read")
	}
	pairs := []iscsi.Pair{{Key: "CHAP_N", Value: l.cfg.User}, {Key: "CHAP_R", Value: iscsi.HexValue(proof)}}
	var own [17]byte
	if l.cfg.TargetSecret != "" {
		rand.Read(own[:]) //nolint:errcheck // it never fails: it ends the process instead
		pairs = append(pairs, iscsi.Pair{Key: "CHAP_I", Value: strconv.Itoa(int(own[0]))}, iscsi.Pair{Key: "CHAP_C", Value: iscsi.HexValue(own[1:])})
	}
	a, moved, err := l.exchange(iscsi.SecurityStage, iscsi.OperationalStage, true, pairs)
	if err != nil || l.cfg.TargetSecret == "" {
		return moved, err
	}
	got, ok := iscsi.Binary(a["CHAP_R"])
	want := iscsi.ChapProof(q["CHAP_A"], own[0], l.cfg.TargetSecret, own[1:])
	if !ok || subtle.ConstantTimeCompare(got, want) != 1 {
		return false, errors.New("the target does not prove itself: its secret is another, or it is an impostor")
	}
	l.proven = true
	return moved, nil
}

// exchange sends a login request and takes its response, over several PDUs if that
// has more.
func (l *login) exchange(stage, next uint8, transit bool, pairs []iscsi.Pair) (answers map[string]string, moved bool, err error) {
	answers = map[string]string{}
	text := iscsi.AppendText(nil, pairs...)
	var got []byte
	for range 16 {
		flags := stage << 2
		if transit {
			flags |= iscsi.Final | next
		}
		q := iscsi.New(iscsi.LoginRequest, flags, 0)
		q[0] |= 0x40 // immediate, as all logins
		copy(q[8:14], l.isid[:])
		q.SetHalf(14, l.tsih)
		q.Set(24, l.cmdSN)
		q.Set(28, l.statSN)
		if err := l.w.send(&q, text); err != nil {
			return nil, false, err
		}
		h, data, err := l.receive(iscsi.LoginResponse)
		if err != nil {
			return nil, false, err
		}
		if status := h.Half(36); status != 0 {
			return nil, false, fmt.Errorf("%w: status %04Xh", ErrLogin, status)
		}
		got, text = append(got, data...), nil
		if h.Has(iscsi.Continue) {
			continue
		}
		all, err := iscsi.ParseText(got)
		if err != nil {
			return nil, false, err
		}
		for _, p := range all {
			answers[p.Key] = p.Value
		}
		l.tsih = h.Half(14)
		return answers, h.Has(iscsi.Final), nil
	}
	return nil, false, errors.New("the target's text does not end")
}

// receive reads a PDU that must be of a kind, with its data.
func (l *login) receive(kind iscsi.Opcode) (*iscsi.Header, []byte, error) {
	var h iscsi.Header
	if err := l.w.readHeader(&h); err != nil {
		return nil, nil, err
	}
	if h.Opcode() != kind || h.DataLen() > maxReceive {
		return nil, nil, fmt.Errorf("the target sends a PDU of type %02Xh with %d bytes, not %02Xh", uint8(h.Opcode()), h.DataLen(), uint8(kind))
	}
	data := make([]byte, h.DataLen())
	l.statSN = h.StatSN() + 1
	return &h, data, l.w.readData(data)
}

// discover asks for all targets.
func (l *login) discover() ([]Target, error) {
	if err := l.login(iscsi.Pair{Key: "SessionType", Value: "Discovery"}); err != nil {
		return nil, err
	}
	text := iscsi.AppendText(nil, iscsi.Pair{Key: "SendTargets", Value: "All"})
	var got []byte
	tag := uint32(iscsi.NoTag)
	for range 1024 {
		q := iscsi.New(iscsi.TextRequest, iscsi.Final, 1)
		q.Set(20, tag)
		q.Set(24, l.cmdSN)
		q.Set(28, l.statSN)
		l.cmdSN++
		if err := l.w.send(&q, text); err != nil {
			return nil, err
		}
		h, data, err := l.receive(iscsi.TextResponse)
		if err != nil {
			return nil, err
		}
		got, text, tag = append(got, data...), nil, h.TransferTag()
		if h.Has(iscsi.Final) {
			return readTargets(got), nil
		}
	}
	return nil, errors.New("the list of targets does not end")
}

// readTargets reads the answer to SendTargets; it can have more pairs than a login.
func readTargets(b []byte) (all []Target) {
	for one := range strings.SplitSeq(string(b), "\x00") {
		k, v, _ := strings.Cut(one, "=")
		switch {
		case k == "TargetName":
			all = append(all, Target{Name: v})
		case k == "TargetAddress" && len(all) > 0:
			t := &all[len(all)-1]
			address, _, _ := strings.Cut(v, ",")
			if !slices.Contains(t.Addresses, address) {
				t.Addresses = append(t.Addresses, address)
			}
		}
	}
	return all
}
