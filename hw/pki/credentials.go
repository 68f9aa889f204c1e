package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"

	"capstan/core/pbx"
)

// Credentials are what a process needs to be someone of a domain: key,
// certificate, and the authority that it trusts.
type Credentials struct {
	Domain    string
	Identity  pbx.Identity
	Cert      tls.Certificate
	Authority *x509.Certificate
}

// NewRequest makes a key and a request (PKCS #10, DER) to certify it.
func NewRequest() (key *ecdsa.PrivateKey, csr []byte, err error) {
	key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("making a certificate request: %w", err)
	}
	return key, csr, nil
}

// Save keeps a host's key, its certificate and the authority's (DER) in dir,
// after checking that they belong together.
func Save(dir string, key *ecdsa.PrivateKey, cert, authority []byte) error {
	if _, err := New(key, cert, authority); err != nil {
		return err
	}
	if err := writeKey(filepath.Join(dir, "host.key"), key); err != nil {
		return err
	}
	if err := writeCertificate(filepath.Join(dir, "ca.pem"), authority); err != nil {
		return err
	}
	return writeCertificate(filepath.Join(dir, "host.pem"), cert)
}

// Load reads what Save kept.
func Load(dir string) (*Credentials, error) {
	key, err := readKey(filepath.Join(dir, "host.key"))
	if err != nil {
		return nil, fmt.Errorf("this host's key: %w (was it enrolled?)", err)
	}
	cert, err := readCertificate(filepath.Join(dir, "host.pem"))
	if err != nil {
		return nil, fmt.Errorf("this host's certificate: %w (was it enrolled?)", err)
	}
	ca, err := readCertificate(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, fmt.Errorf("the domain's certificate: %w (was this host enrolled?)", err)
	}
	return New(key, cert.Raw, ca.Raw)
}

// New makes credentials of a key, its certificate and the authority's (DER).
// They must belong together; whether they are in date is checked at their use.
func New(key *ecdsa.PrivateKey, cert, authority []byte) (*Credentials, error) {
	ca, err := x509.ParseCertificate(authority)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate: %w", err)
	}
	domain, err := authorityDomain(ca)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, fmt.Errorf("certificate of domain %s: %w", domain, err)
	}
	if err := leaf.CheckSignatureFrom(ca); err != nil {
		return nil, fmt.Errorf("certificate of %q is not of domain %s: %w", leaf.Subject.CommonName, domain, err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, fmt.Errorf("certificate of %q is for another key", leaf.Subject.CommonName)
	}
	d, id, err := FromCertificate(leaf)
	if err != nil {
		return nil, err
	}
	if d != domain {
		return nil, fmt.Errorf("certificate of %s is for domain %s, its authority is that of %s", id, d, domain)
	}
	return &Credentials{
		Domain: domain, Identity: id, Authority: ca,
		Cert: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf},
	}, nil
}

func (c *Credentials) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.Authority)
	return pool
}

// Server is the TLS configuration of the answering side: TLS 1.3, one protocol
// name (ALPN), and a certificate of the domain demanded of who calls.
func (c *Credentials) Server(protocol string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{c.Cert},
		NextProtos:             []string{protocol},
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              c.roots(),
		SessionTicketsDisabled: true, // a resumption would outlive the certificate
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := c.Peer(s)
			return err
		},
	}
}

// Client is the TLS configuration of the calling side: it goes on only with the
// host addressed, as certified by the domain.
func (c *Credentials) Client(protocol, host string) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{c.Cert},
		NextProtos:   []string{protocol},
		RootCAs:      c.roots(),
		ServerName:   host,
		VerifyConnection: func(s tls.ConnectionState) error {
			id, err := c.Peer(s)
			if err == nil && (!id.Is(pbx.Hosts) || id.Name != host) {
				err = fmt.Errorf("%s answers in place of host %s", id, host)
			}
			return err
		},
	}
}

// Peer is who is at the other end of a verified connection.
func (c *Credentials) Peer(s tls.ConnectionState) (pbx.Identity, error) {
	if len(s.VerifiedChains) == 0 {
		return pbx.Identity{}, errors.New("the peer's certificate was not verified")
	}
	domain, id, err := FromCertificate(s.VerifiedChains[0][0])
	if err == nil && domain != c.Domain {
		err = fmt.Errorf("%s is of domain %s, not of %s", id, domain, c.Domain)
	}
	return id, err
}
