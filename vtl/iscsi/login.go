package iscsi

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"capstan/core/iscsi"
)

// How a login ends: status class and detail (RFC 7143, 11.13.5).
const (
	loginOK          = 0x0000
	loginBad         = 0x0200
	loginDenied      = 0x0201
	loginForbidden   = 0x0202
	loginNotFound    = 0x0203
	loginVersion     = 0x0205
	loginTooMany     = 0x0206
	loginMissing     = 0x0207
	loginBadType     = 0x0209
	loginNoSession   = 0x020A
	loginInvalid     = 0x020B
	loginUnavailable = 0x0301
)

// loginError is why a login is refused.
type loginError struct {
	status uint16
	why    string
}

func (e *loginError) Error() string { return e.why }

// Bounds of a login.
const (
	loginRounds = 64       // requests
	loginText   = 32 << 10 // bytes of text, in all
)

// login is the login phase of one connection.
type login struct {
	c      *connection
	stage  uint8
	text   []byte // of requests that go on in the next one
	total  int    // bytes of text so far
	seen   map[string]bool
	auth   auth
	params Params

	begun      bool
	said       map[string]string // who the initiator says it is, and what it wants
	initiator  string
	discovery  bool
	isid       [6]byte
	tsih, cid  uint16
	declared   bool // our MaxRecvDataSegmentLength
	groupTold  bool // our TargetPortalGroupTag
	operations bool // a key of the operational stage came
}

// login leads the connection into the full feature phase. The error is told to
// the initiator already.
func (c *connection) login() error {
	l := &login{c: c, seen: map[string]bool{}, params: defaults()}
	deadline := time.Now().Add(c.target.cfg.Timeouts.Login)
	for range loginRounds {
		left := time.Until(deadline)
		if left <= 0 {
			return errors.New("the login takes too long")
		}
		// The whole rest of the login has one deadline: a byte now and then keeps nobody in.
		c.timeouts = &Timeouts{PDU: left}
		var h iscsi.Header
		if _, err := c.readHeader(&h, left); err != nil {
			return err
		}
		text, err := l.read(&h)
		if err != nil {
			return l.refuse(&h, err)
		}
		done, err := l.step(&h, text)
		if err != nil {
			return l.refuse(&h, err)
		}
		if done {
			return nil
		}
	}
	return errors.New("the login goes on for too many rounds")
}

func invalid(format string, args ...any) error {
	return &loginError{loginInvalid, fmt.Sprintf(format, args...)}
}

// read checks a request's header and reads its text.
func (l *login) read(h *iscsi.Header) ([]byte, error) {
	n := h.DataLen()
	l.total += n
	switch {
	case h.Opcode() != iscsi.LoginRequest:
		return nil, invalid("a PDU of type %02Xh comes before the login", uint8(h.Opcode()))
	case h.AHSLen() != 0:
		return nil, invalid("a login request has an additional header")
	case h[3] != 0:
		return nil, &loginError{loginVersion, fmt.Sprintf("the initiator knows versions from %d on", h[3])}
	case n > defaultSegment || l.total > loginText:
		return nil, invalid("the login has too much text")
	case h.Has(iscsi.Final) && h.Has(iscsi.Continue):
		return nil, invalid("a login request goes on and transits")
	}
	text := make([]byte, n)
	return text, l.c.readData(text)
}

// step takes one request and answers it.
func (l *login) step(h *iscsi.Header, text []byte) (done bool, err error) {
	if err := l.follow(h); err != nil {
		return false, err
	}
	l.text = append(l.text, text...)
	if h.Has(iscsi.Continue) {
		return false, l.answer(h, nil, false)
	}
	pairs, err := iscsi.ParseText(l.text)
	if err != nil {
		return false, invalid("%v", err)
	}
	l.text = l.text[:0]
	if !l.begun {
		if pairs, err = l.begin(pairs); err != nil {
			return false, err
		}
	}
	answers, err := l.take(pairs)
	if err != nil {
		return false, err
	}
	transit := h.Has(iscsi.Final) && (l.stage != iscsi.SecurityStage || l.auth.done(l.c.target))
	if !transit {
		return false, l.answer(h, answers, false)
	}
	next := h[1] & 3
	if next <= l.stage || next == 2 {
		return false, invalid("a transit from stage %d to %d", l.stage, next)
	}
	if next != iscsi.FullFeature {
		l.stage = next
		return false, l.answer(h, answers, true)
	}
	return true, l.finish(h, answers)
}

// follow checks that a request goes on with what the ones before began.
func (l *login) follow(h *iscsi.Header) error {
	stage := h[1] >> 2 & 3
	isid, tsih, cid := [6]byte(h[8:14]), h.Half(14), h.Half(20)
	if !l.begun && len(l.text) == 0 {
		l.isid, l.tsih, l.cid, l.stage = isid, tsih, cid, stage
		l.c.loginCmdSN = h.CmdSN()
	}
	switch {
	case isid != l.isid || tsih != l.tsih || cid != l.cid:
		return invalid("the session's or the connection's number changes during the login")
	case stage != l.stage || stage > iscsi.OperationalStage:
		return invalid("the request is of stage %d, the login in stage %d", stage, l.stage)
	case stage == iscsi.OperationalStage && !l.auth.done(l.c.target):
		return denied("the initiator does not authenticate itself")
	}
	return nil
}

// begin takes the keys that say who wants what (6.3), and returns the others.
func (l *login) begin(pairs []iscsi.Pair) (rest []iscsi.Pair, err error) {
	l.begun = true
	l.said = map[string]string{}
	target := ""
	for _, p := range pairs {
		l.said[p.Key] = p.Value
		switch p.Key {
		case "InitiatorName":
			l.initiator = strings.ToLower(p.Value)
		case "TargetName":
			target = p.Value
		case "SessionType":
			if p.Value != "Normal" && p.Value != "Discovery" {
				return nil, &loginError{loginBadType, "a session of type " + fmt.Sprintf("%.40q", p.Value)}
			}
			l.discovery = p.Value == "Discovery"
		default:
			rest = append(rest, p)
		}
	}
	switch {
	case l.initiator == "":
		return nil, &loginError{loginMissing, "no InitiatorName"}
	case !iscsi.ValidName(l.initiator):
		return nil, &loginError{loginBad, fmt.Sprintf("InitiatorName=%.80q is no name", l.initiator)}
	case !l.discovery && target == "":
		return nil, &loginError{loginMissing, "no TargetName"}
	case target != "" && !strings.EqualFold(target, l.c.target.cfg.Name):
		return nil, &loginError{loginNotFound, fmt.Sprintf("no target %.80q", target)}
	}
	return rest, nil
}

// take negotiates the pairs of one request.
func (l *login) take(pairs []iscsi.Pair) ([]iscsi.Pair, error) {
	var answers, security []iscsi.Pair
	for _, p := range pairs {
		if who := p.Key == "InitiatorName" || p.Key == "TargetName" || p.Key == "SessionType"; who {
			// Some initiators say again in each stage who they are.
			if l.said[p.Key] != p.Value {
				return nil, invalid("%s comes late, or has changed", p.Key)
			}
			continue
		}
		if l.seen[p.Key] {
			return nil, &loginError{loginBad, p.Key + " is negotiated twice"}
		}
		l.seen[p.Key] = true
		switch {
		case p.Key == "AuthMethod" || strings.HasPrefix(p.Key, "CHAP_"):
			if l.stage != iscsi.SecurityStage {
				return nil, invalid("%s in the operational stage", p.Key)
			}
			security = append(security, p)
			continue
		case l.tsih != 0 && leadingOnly(p.Key):
			return nil, invalid("%s on a connection that is not the session's first", p.Key)
		}
		answer, err := l.params.negotiate(p.Key, p.Value)
		if err != nil {
			return nil, &loginError{loginBad, err.Error()}
		}
		if answer != "" {
			answers = append(answers, iscsi.Pair{Key: p.Key, Value: answer})
		}
		l.operations = true
	}
	more, err := l.authenticate(security)
	if err != nil {
		return nil, err
	}
	return append(more, answers...), nil
}

// declare adds what the target says of itself.
func (l *login) declare(answers []iscsi.Pair) []iscsi.Pair {
	if !l.groupTold && !l.discovery {
		l.groupTold = true
		answers = append(answers, iscsi.Pair{Key: "TargetPortalGroupTag", Value: "1"})
		if l.c.target.cfg.Alias != "" {
			answers = append(answers, iscsi.Pair{Key: "TargetAlias", Value: l.c.target.cfg.Alias})
		}
	}
	if !l.declared && l.operations && l.stage == iscsi.OperationalStage {
		l.declared = true
		answers = append(answers, iscsi.Pair{Key: "MaxRecvDataSegmentLength", Value: fmt.Sprint(maxReceive)})
	}
	return answers
}

// finish ends the login well: the connection joins its session.
func (l *login) finish(h *iscsi.Header, answers []iscsi.Pair) error {
	if l.params.FirstBurst > l.params.MaxBurst {
		if l.seen["FirstBurstLength"] && l.seen["MaxBurstLength"] {
			return &loginError{loginBad, "FirstBurstLength is greater than MaxBurstLength"}
		}
		l.params.FirstBurst = l.params.MaxBurst // one of them is the default
	}
	l.c.timeouts = &l.c.target.cfg.Timeouts
	if status := l.c.target.join(l.c, l); status != loginOK {
		return &loginError{status, "the connection cannot join its session"}
	}
	s := l.c.session.Load()
	if l.tsih != 0 {
		p := l.params // of the connection alone
		l.params = s.params
		l.params.HeaderDigest, l.params.DataDigest, l.params.MaxSend = p.HeaderDigest, p.DataDigest, p.MaxSend
	}
	l.c.params = l.params
	l.c.maxReceive = defaultSegment
	if l.declared || l.operations && l.stage == iscsi.OperationalStage { // it is in the answer
		l.c.maxReceive = maxReceive
	}
	l.tsih = s.tsih
	if err := l.answer(h, answers, true); err != nil {
		return err
	}
	l.c.mu.Lock()
	l.c.digests = iscsi.Digests{Header: l.params.HeaderDigest, Data: l.params.DataDigest}
	l.c.mu.Unlock()
	return nil
}

// answer sends a login response.
func (l *login) answer(q *iscsi.Header, answers []iscsi.Pair, transit bool) error {
	h := iscsi.New(iscsi.LoginResponse, q[1]&0x0C, q.Tag())
	if transit {
		h[1] = q[1] & (iscsi.Final | 0x0F)
	}
	copy(h[8:14], l.isid[:])
	h.SetHalf(14, l.tsih)
	if len(l.text) == 0 {
		answers = l.declare(answers)
	}
	return l.c.send(&h, iscsi.AppendText(nil, answers...), withStatus)
}

// refuse tells the initiator why it does not get in, if that is for it to know.
func (l *login) refuse(q *iscsi.Header, err error) error {
	var e *loginError
	if !errors.As(err, &e) {
		return err
	}
	h := iscsi.New(iscsi.LoginResponse, q[1]&0x0C, q.Tag())
	copy(h[8:14], l.isid[:])
	h.SetHalf(14, l.tsih)
	h.SetHalf(36, e.status)
	if serr := l.c.send(&h, nil, withStatus); serr != nil {
		return serr
	}
	return fmt.Errorf("login of %.80q refused: %w", l.initiator, err)
}
