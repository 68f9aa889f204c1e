package pbx

import "strings"

// Kinds is a set of kinds of identity: what a certificate of the domain says its
// holder is.
type Kinds uint8

// The kinds of identity.
const (
	Master Kinds = 1 << iota // the master server's host
	Media                    // a media server's host
	Client                   // a client's host
	User                     // a person
)

// Hosts is every kind of host.
const Hosts = Master | Media | Client

func (k Kinds) String() string {
	var s []string
	for i, name := range []string{"master", "media", "client", "user"} {
		if k&(1<<i) != 0 {
			s = append(s, name)
		}
	}
	return strings.Join(s, "+")
}

// ParseKinds reads what String writes; ok is false for an unknown word.
func ParseKinds(s string) (k Kinds, ok bool) {
	for w := range strings.SplitSeq(s, "+") {
		switch w {
		case "master":
			k |= Master
		case "media":
			k |= Media
		case "client":
			k |= Client
		case "user":
			k |= User
		default:
			return 0, false
		}
	}
	return k, true
}

// Identity is who is at the other end, proven by its certificate.
type Identity struct {
	Kinds Kinds  `json:"kinds"`
	Name  string `json:"name"` // the host's name, or the user's
}

// Is tells whether the identity has one of the kinds.
func (i Identity) Is(k Kinds) bool { return i.Kinds&k != 0 }

func (i Identity) String() string { return i.Kinds.String() + ":" + i.Name }

// Peer is the other end of a call.
type Peer struct {
	Identity
	Addr Addr // the process that calls, as it says; its host part is proven by the identity
}
