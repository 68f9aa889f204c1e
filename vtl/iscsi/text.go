package iscsi

import (
	"strings"

	"capstan/core/iscsi"
)

// text is a negotiation in the full feature phase that spans several PDUs.
type text struct {
	in  []byte // what came so far
	out []byte // what is still to be sent
}

// maxText bounds the text of one negotiation, in bytes.
const maxText = 32 << 10

// textTag is the target transfer tag of a negotiation that goes on: there is one
// at a time.
const textTag = 1

// negotiate takes a text request: SendTargets, or a new
// MaxRecvDataSegmentLength.
func (c *connection) negotiate(h *iscsi.Header) error {
	n := h.DataLen()
	if !c.numbered(h) {
		return c.discard(n)
	}
	if len(c.text.in)+n > maxText {
		return breach("more than %d bytes of text", maxText)
	}
	at := len(c.text.in)
	c.text.in = append(c.text.in, make([]byte, n)...)
	if err := c.readData(c.text.in[at:]); err != nil {
		return err
	}
	if h.TransferTag() == iscsi.NoTag { // a new negotiation ends an old one
		c.text.in, c.text.out = c.text.in[at:], nil
	}
	if h.Has(iscsi.Continue) {
		return c.sendText(h)
	}
	pairs, err := iscsi.ParseText(c.text.in)
	if err != nil {
		return err
	}
	c.text.in = nil
	for _, p := range pairs {
		answers, err := c.answerText(p)
		if err != nil {
			return breach("%v", err)
		}
		c.text.out = iscsi.AppendText(c.text.out, answers...)
	}
	return c.sendText(h)
}

// sendText sends as much of the text as one PDU takes.
func (c *connection) sendText(q *iscsi.Header) error {
	r := iscsi.New(iscsi.TextResponse, 0, q.Tag())
	copy(r[8:16], q[8:16])
	out := c.text.out
	if n := min(c.params.MaxSend, defaultSegment); len(out) > n {
		out = out[:n]
	}
	c.text.out = c.text.out[len(out):]
	switch {
	case len(c.text.out) > 0:
		r[1] = iscsi.Continue
		r.Set(20, textTag)
	case q.Has(iscsi.Final):
		r[1] = iscsi.Final
		r.Set(20, iscsi.NoTag)
		c.text = text{}
	default:
		r.Set(20, textTag)
	}
	return c.send(&r, out, withStatus)
}

// answerText answers one key.
func (c *connection) answerText(p iscsi.Pair) ([]iscsi.Pair, error) {
	switch p.Key {
	case "SendTargets":
		return c.sendTargets(p.Value), nil
	case "MaxRecvDataSegmentLength":
		var said Params
		_, err := said.negotiate(p.Key, p.Value)
		if err == nil {
			c.mu.Lock() // workers read it under the lock
			c.params.MaxSend = said.MaxSend
			c.mu.Unlock()
		}
		return nil, err
	}
	if strings.HasPrefix(p.Key, "X-") {
		return []iscsi.Pair{{Key: p.Key, Value: answerUnknown}}, nil
	}
	var scratch Params
	answer, err := scratch.negotiate(p.Key, p.Value)
	if err != nil || answer != answerUnknown {
		answer = answerReject // it is for logins only
	}
	return []iscsi.Pair{{Key: p.Key, Value: answer}}, nil
}

// sendTargets names the target and its addresses, in its one portal group.
func (c *connection) sendTargets(which string) []iscsi.Pair {
	cfg := &c.target.cfg
	discovery := c.session.Load().nexus == nil
	switch {
	case which == "All" && !discovery:
		return []iscsi.Pair{{Key: "SendTargets", Value: answerReject}}
	case which != "All" && which != "" && !strings.EqualFold(which, cfg.Name), which == "" && discovery:
		return nil
	}
	all := []iscsi.Pair{{Key: "TargetName", Value: cfg.Name}}
	portals := cfg.Portals
	if len(portals) == 0 {
		portals = []string{c.nc.LocalAddr().String()}
	}
	for _, p := range portals {
		all = append(all, iscsi.Pair{Key: "TargetAddress", Value: p + ",1"})
	}
	return all
}
