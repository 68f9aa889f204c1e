package iscsi

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"capstan/core/iscsi"
)

// challengeLen is the length of the target's CHAP challenge, in bytes.
const challengeLen = 32

// chapStep is how far CHAP has come (RFC 7143, 12.1.3).
type chapStep uint8

const (
	chapNone    chapStep = iota // the method is not agreed on
	chapChosen                  // CHAP it is: the initiator names algorithms
	chapAsked                   // the challenge was sent
	chapProven                  // the initiator has proven its secret
	methodClear                 // None it is
)

// auth is the security negotiation of one login.
type auth struct {
	step      chapStep
	algorithm string
	id        uint8
	challenge []byte
	account   string // that was proven
}

// done tells whether the login may leave the security stage.
func (a *auth) done(t *Target) bool {
	return a.step == chapProven || len(t.cfg.Accounts) == 0 && a.step != chapChosen && a.step != chapAsked
}

// denied is a login that did not prove what it must.
func denied(format string, args ...any) error {
	return &loginError{loginDenied, fmt.Sprintf(format, args...)}
}

// authenticate takes the pairs of the security stage that are about it.
func (l *login) authenticate(pairs []iscsi.Pair) (answers []iscsi.Pair, err error) {
	v := map[string]string{}
	for _, p := range pairs {
		v[p.Key] = p.Value
	}
	a := &l.auth
	if list, ok := v["AuthMethod"]; ok {
		return l.chooseMethod(list)
	}
	switch {
	case a.step == chapChosen && v["CHAP_A"] != "":
		if a.algorithm = iscsi.ChooseChap(v["CHAP_A"]); a.algorithm == "" {
			return nil, denied("no algorithm in CHAP_A=%.40s is known", v["CHAP_A"])
		}
		a.challenge = make([]byte, challengeLen)
		rand.Read(a.challenge) //nolint:errcheck // it never fails: it ends the process instead
		a.id, a.challenge = a.challenge[0], a.challenge[1:]
		a.step = chapAsked
		return []iscsi.Pair{{Key: "CHAP_A", Value: a.algorithm}, {Key: "CHAP_I", Value: strconv.Itoa(int(a.id))},
			{Key: "CHAP_C", Value: iscsi.HexValue(a.challenge)}}, nil
	case a.step == chapAsked && v["CHAP_N"] != "" && v["CHAP_R"] != "":
		return l.prove(v)
	case slices.ContainsFunc(pairs, func(p iscsi.Pair) bool { return strings.HasPrefix(p.Key, "CHAP_") }):
		return nil, denied("the steps of CHAP came out of order")
	}
	return nil, nil
}

func (l *login) chooseMethod(list string) ([]iscsi.Pair, error) {
	if l.auth.step != chapNone {
		return nil, denied("AuthMethod came twice")
	}
	offers := strings.Split(list, ",")
	method := "None"
	l.auth.step = methodClear
	if len(l.c.target.cfg.Accounts) > 0 {
		method = "CHAP"
		l.auth.step = chapChosen
	}
	if !slices.Contains(offers, method) {
		return nil, denied("the initiator offers %.80s, the target needs %s", list, method)
	}
	return []iscsi.Pair{{Key: "AuthMethod", Value: method}}, nil
}

// prove checks the initiator's proof and, if it asks for one, gives the target's.
func (l *login) prove(v map[string]string) ([]iscsi.Pair, error) {
	a, cfg := &l.auth, &l.c.target.cfg
	secret, known := cfg.Accounts[v["CHAP_N"]]
	proof, ok := iscsi.Binary(v["CHAP_R"])
	want := iscsi.ChapProof(a.algorithm, a.id, secret, a.challenge)
	if !ok || subtle.ConstantTimeCompare(proof, want) != 1 || !known {
		return nil, denied("the proof of %.80q is wrong", v["CHAP_N"])
	}
	a.step, a.account = chapProven, v["CHAP_N"]
	if v["CHAP_I"] == "" && v["CHAP_C"] == "" {
		return nil, nil
	}
	id, okID := iscsi.Number(v["CHAP_I"])
	challenge, okC := iscsi.Binary(v["CHAP_C"])
	switch {
	case !okID || id > 255 || !okC || len(challenge) > 1024:
		return nil, denied("the challenge of the initiator cannot be read")
	case subtle.ConstantTimeCompare(challenge, a.challenge) == 1:
		return nil, denied("the initiator sends the target's own challenge back")
	case cfg.MutualSecret == "":
		return nil, denied("the initiator wants a proof, and the target has no secret of its own")
	}
	answer := iscsi.ChapProof(a.algorithm, uint8(id), cfg.MutualSecret, challenge)
	return []iscsi.Pair{{Key: "CHAP_N", Value: cfg.MutualName}, {Key: "CHAP_R", Value: iscsi.HexValue(answer)}}, nil
}
