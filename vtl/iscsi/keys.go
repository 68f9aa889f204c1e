package iscsi

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"capstan/core/iscsi"
)

// Params are what the two ends have agreed on (RFC 7143, 13).
type Params struct {
	HeaderDigest, DataDigest  bool
	MaxConnections            int
	InitialR2T, ImmediateData bool
	MaxBurst, FirstBurst      int // bytes
	MaxOutstandingR2T         int
	// MaxSend is the longest data segment that the initiator takes: its
	// MaxRecvDataSegmentLength.
	MaxSend int
}

// maxReceive is the longest data segment that the target takes once it has said
// so, in bytes. Large ones are what makes writes fast.
const maxReceive = 1 << 20

// defaultSegment is MaxRecvDataSegmentLength where nothing was said, and the
// longest data segment during a login.
const defaultSegment = 8192

// defaults hold where nothing is negotiated.
func defaults() Params {
	return Params{MaxConnections: 1, InitialR2T: true, ImmediateData: true, MaxBurst: 256 << 10, FirstBurst: 64 << 10,
		MaxOutstandingR2T: 1, MaxSend: defaultSegment}
}

// Answers that are no values.
const (
	answerReject     = "Reject"
	answerUnknown    = "NotUnderstood"
	answerIrrelevant = "Irrelevant"
)

// rule is how the result of a numerical key comes of two offers.
type rule uint8

const (
	smaller rule = iota
	larger
)

// numeric is a key whose value is a number.
type numeric struct {
	key      string
	min, max uint32 // RFC 7143's range
	own      uint32 // what this target offers
	rule     rule
	set      func(p *Params, v int)
}

// numerics are the numerical keys that are negotiated.
func numerics() []numeric {
	ignore := func(*Params, int) {}
	return []numeric{
		{"MaxConnections", 1, 65535, 4, smaller, func(p *Params, v int) { p.MaxConnections = v }},
		{"MaxBurstLength", 512, 1<<24 - 1, 1<<24 - 512, smaller, func(p *Params, v int) { p.MaxBurst = v }},
		{"FirstBurstLength", 512, 1<<24 - 1, 1 << 20, smaller, func(p *Params, v int) { p.FirstBurst = v }},
		{"MaxOutstandingR2T", 1, 65535, maxR2T, smaller, func(p *Params, v int) { p.MaxOutstandingR2T = v }},
		{"DefaultTime2Wait", 0, 3600, 0, larger, ignore},
		{"DefaultTime2Retain", 0, 3600, 0, smaller, ignore},
		{"ErrorRecoveryLevel", 0, 2, 0, smaller, ignore},
	}
}

// boolean is a key whose value is Yes or No.
type boolean struct {
	key string
	own bool
	or  bool // the result is Yes if either end says so; else if both do
	set func(p *Params, v bool)
}

func booleans() []boolean {
	ignore := func(*Params, bool) {}
	return []boolean{
		{"InitialR2T", false, true, func(p *Params, v bool) { p.InitialR2T = v }},
		{"ImmediateData", true, false, func(p *Params, v bool) { p.ImmediateData = v }},
		{"DataPDUInOrder", true, true, ignore},
		{"DataSequenceInOrder", true, true, ignore},
		{"IFMarker", false, false, ignore},
		{"OFMarker", false, false, ignore},
	}
}

// leadingOnly are keys that belong to a session, and so to its first connection.
func leadingOnly(key string) bool {
	return slices.Contains([]string{"MaxConnections", "InitialR2T", "ImmediateData", "MaxBurstLength", "FirstBurstLength",
		"DefaultTime2Wait", "DefaultTime2Retain", "MaxOutstandingR2T", "DataPDUInOrder", "DataSequenceInOrder",
		"ErrorRecoveryLevel", "TaskReporting", "SessionType", "TargetName"}, key)
}

// negotiate takes an offer of the initiator and returns the answer; "" is none.
// The error is a breach of the protocol.
func (p *Params) negotiate(key, value string) (answer string, err error) {
	switch key {
	case "HeaderDigest":
		return chooseDigest(value, &p.HeaderDigest)
	case "DataDigest":
		return chooseDigest(value, &p.DataDigest)
	case "MaxRecvDataSegmentLength": // declared, not negotiated
		v, ok := iscsi.Number(value)
		if !ok || v < 512 || v > 1<<24-1 {
			return "", fmt.Errorf("%w: %s=%.80s", iscsi.ErrPDU, key, value)
		}
		p.MaxSend = int(v)
		return "", nil
	case "InitiatorAlias":
		return "", nil
	case "OFMarkInt", "IFMarkInt":
		return answerIrrelevant, nil
	case "TaskReporting":
		return chooseFrom(value, "RFC3720")
	case "iSCSIProtocolLevel":
		return "1", nil // RFC 7143
	case "RDMAExtensions":
		return "No", nil
	}
	for _, n := range numerics() {
		if n.key == key {
			return n.negotiate(p, value)
		}
	}
	for _, b := range booleans() {
		if b.key == key {
			return b.negotiate(p, value)
		}
	}
	return answerUnknown, nil
}

func (n *numeric) negotiate(p *Params, value string) (string, error) {
	v, ok := iscsi.Number(value)
	if !ok || v < n.min || v > n.max {
		return answerReject, nil
	}
	if n.rule == smaller {
		v = min(v, n.own)
	} else {
		v = max(v, n.own)
	}
	n.set(p, int(v))
	return strconv.Itoa(int(v)), nil
}

func (b *boolean) negotiate(p *Params, value string) (string, error) {
	if value != "Yes" && value != "No" {
		return answerReject, nil
	}
	result := value == "Yes" && b.own
	if b.or {
		result = value == "Yes" || b.own
	}
	b.set(p, result)
	if result {
		return "Yes", nil
	}
	return "No", nil
}

// chooseDigest takes the first digest of the initiator's list that is known.
func chooseDigest(list string, on *bool) (string, error) {
	answer, err := chooseFrom(list, "CRC32C", "None")
	*on = answer == "CRC32C"
	return answer, err
}

// chooseFrom is the first of a list that is among those known.
func chooseFrom(list string, known ...string) (string, error) {
	for offer := range strings.SplitSeq(list, ",") {
		if slices.Contains(known, offer) {
			return offer, nil
		}
	}
	return answerReject, nil
}
