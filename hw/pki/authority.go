package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"capstan/core/pbx"
)

// Lifetimes of certificates. A host whose certificate has expired is enrolled
// again with a new token.
const (
	authorityLifetime = 20 * 365 * 24 * time.Hour
	holderLifetime    = 2 * 365 * 24 * time.Hour
	// clockSkew is how far the clocks of two hosts may differ at enrolment.
	clockSkew = 10 * time.Minute
)

// Authority issues the certificates of a domain.
type Authority struct {
	dir    string // holds ca.pem, ca.key and tokens/
	domain string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	now    func() time.Time
}

// Init makes the authority of a new domain, and the master's own key and
// certificate, in dir. The master is of kind Master and of the others given. It
// refuses a directory that has an authority already: its hosts would be lost.
func Init(dir, domain, host string, kinds pbx.Kinds) (*Authority, error) {
	if err := CheckName(domain); err != nil {
		return nil, err
	}
	id := pbx.Identity{Kinds: kinds | pbx.Master, Name: host}
	if err := CheckIdentity(id); err != nil {
		return nil, err
	}
	a, err := newAuthority(filepath.Join(dir, "ca"), domain)
	if err != nil {
		return nil, fmt.Errorf("making the authority of domain %s: %w", domain, err)
	}
	key, csr, err := NewRequest()
	if err != nil {
		return nil, err
	}
	cert, err := a.Issue(csr, id)
	if err != nil {
		return nil, err
	}
	return a, Save(dir, key, cert, a.cert.Raw)
}

func newAuthority(dir, domain string) (*Authority, error) {
	if _, err := os.Stat(filepath.Join(dir, "ca.pem")); err == nil {
		return nil, fmt.Errorf("%s holds an authority already; choose another directory", dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "tokens"), 0o700); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Capstan authority of " + domain},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(authorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		URIs:                  []*url.URL{{Scheme: "capstan", Host: domain, Path: "/"}},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, err
	}
	// The certificate is written last: with it, the authority is whole.
	if err := writeKey(filepath.Join(dir, "ca.key"), key); err != nil {
		return nil, err
	}
	if err := writeCertificate(filepath.Join(dir, "ca.pem"), raw); err != nil {
		return nil, err
	}
	return &Authority{dir: dir, domain: domain, cert: cert, key: key, now: time.Now}, nil
}

// Open opens the authority that Init made in dir.
func Open(dir string) (*Authority, error) {
	dir = filepath.Join(dir, "ca")
	cert, err := readCertificate(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, fmt.Errorf("opening the domain's authority: %w", err)
	}
	key, err := readKey(filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, fmt.Errorf("opening the domain's authority: %w", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("opening the domain's authority: ca.key and ca.pem in %s do not belong together", dir)
	}
	domain, err := authorityDomain(cert)
	if err != nil {
		return nil, err
	}
	return &Authority{dir: dir, domain: domain, cert: cert, key: key, now: time.Now}, nil
}

func authorityDomain(cert *x509.Certificate) (string, error) {
	if len(cert.URIs) != 1 || cert.URIs[0].Scheme != "capstan" || CheckName(cert.URIs[0].Host) != nil || !cert.IsCA {
		return "", fmt.Errorf("certificate of %q is not that of a domain's authority", cert.Subject.CommonName)
	}
	return cert.URIs[0].Host, nil
}

// Domain is the domain's name.
func (a *Authority) Domain() string { return a.domain }

// Certificate is the authority's own certificate, in DER.
func (a *Authority) Certificate() []byte { return a.cert.Raw }

// Issue certifies the key of a request (PKCS #10, DER) for an identity. Of the
// request only the key is used: who its holder is, the authority decides.
func (a *Authority) Issue(csr []byte, id pbx.Identity) (cert []byte, err error) {
	if err := CheckIdentity(id); err != nil {
		return nil, err
	}
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("certificate request for %s: %w", id, err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request for %s does not hold the key it asks for: %w", id, err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := a.now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: id.Name, Organization: []string{a.domain}},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(holderLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{identityURI(a.domain, id)},
	}
	if id.Is(pbx.Hosts) {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		template.DNSNames = []string{id.Name}
	}
	cert, err = x509.CreateCertificate(rand.Reader, template, a.cert, req.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate for %s: %w", id, err)
	}
	return cert, nil
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}
