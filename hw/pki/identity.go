package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"capstan/core/pbx"
)

// nameForm is a host name as RFC 1123 writes it, underscores allowed: what the
// standard verification of certificates compares. Users' names follow it too.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*$`)

// CheckName tells whether a name may stand in a certificate.
func CheckName(name string) error {
	if len(name) > 200 || !nameForm.MatchString(name) {
		return fmt.Errorf("%q is no name for a host, a user or a domain: use letters, digits, '-', '_' and '.', at most 200", name)
	}
	return nil
}

// CheckIdentity tells whether an identity may be certified: a valid name, and
// either a user or at least one kind of host.
func CheckIdentity(id pbx.Identity) error {
	if err := CheckName(id.Name); err != nil {
		return err
	}
	if id.Kinds == 0 || id.Kinds&^(pbx.Hosts|pbx.User) != 0 || id.Is(pbx.User) && id.Is(pbx.Hosts) {
		return fmt.Errorf("%s is neither a host nor a user", id)
	}
	return nil
}

func identityURI(domain string, id pbx.Identity) *url.URL {
	class := "host"
	if id.Is(pbx.User) {
		class = "user"
	}
	return &url.URL{Scheme: "capstan", Host: domain, Path: "/" + class + "/" + id.Name, RawQuery: "kinds=" + id.Kinds.String()}
}

// FromCertificate reads the domain and the identity of a certificate. It proves
// nothing by itself: the certificate must have been verified.
func FromCertificate(cert *x509.Certificate) (domain string, id pbx.Identity, err error) {
	if len(cert.URIs) != 1 {
		return "", pbx.Identity{}, fmt.Errorf("certificate of %q has %d URIs, not the one that names its holder", cert.Subject.CommonName, len(cert.URIs))
	}
	return parseIdentity(cert.URIs[0])
}

var errURI = errors.New("not capstan://domain/host/name?kinds=… or …/user/name?kinds=user")

func parseIdentity(u *url.URL) (domain string, id pbx.Identity, err error) {
	class, name, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	kinds, isKinds := strings.CutPrefix(u.RawQuery, "kinds=")
	k, known := pbx.ParseKinds(kinds)
	if u.Scheme != "capstan" || !isKinds || !known {
		return "", pbx.Identity{}, fmt.Errorf("identity %q: %w", u, errURI)
	}
	id = pbx.Identity{Kinds: k, Name: name}
	if err := CheckName(u.Host); err != nil {
		return "", pbx.Identity{}, fmt.Errorf("identity %q: %w", u, err)
	}
	if err := CheckIdentity(id); err != nil {
		return "", pbx.Identity{}, fmt.Errorf("identity %q: %w", u, err)
	}
	if (class == "user") != id.Is(pbx.User) || class != "user" && class != "host" {
		return "", pbx.Identity{}, fmt.Errorf("identity %q: %w", u, errURI)
	}
	return u.Host, id, nil
}
