package port

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"capstan/core/pbx"
	"capstan/hw/pki"
)

// maxEnrolment bounds a message of the enrolment: a length (4 bytes, big
// endian), then CBOR.
const maxEnrolment = 16 << 10

type enrolRequest struct {
	ID     string `json:"id"`
	Secret []byte `json:"secret"`
	CSR    []byte `json:"csr"` // PKCS #10, DER
}

type enrolReply struct {
	Cert   []byte `json:"cert,omitempty"` // DER
	Detail string `json:"detail,omitempty"`
}

// Enrol makes a host, or a user, a member of the domain whose master listens at
// addr ("host:port"): it makes a key, has the master certify it against the
// token, and keeps key and certificates in dir. It returns what pki.Load(dir)
// will. Nothing is sent unless the master proves to be the token's.
func Enrol(ctx context.Context, addr, token, dir string) (*pki.Credentials, error) {
	t, err := pki.ParseToken(token)
	if err != nil {
		return nil, err
	}
	key, csr, err := pki.NewRequest()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 4*patience)
	defer cancel()
	cert, ca, err := enrol(ctx, addr, t, csr)
	if err != nil {
		return nil, fmt.Errorf("enrolling at the master %s: %w", addr, err)
	}
	if err := pki.Save(dir, key, cert, ca); err != nil {
		return nil, err
	}
	return pki.Load(dir)
}

func enrol(ctx context.Context, addr string, t pki.Token, csr []byte) (cert, ca []byte, err error) {
	d := tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{enrolProtocol},
		// This host trusts nobody yet: VerifyConnection is the verification.
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection: func(s tls.ConnectionState) error {
			ca, err = verifyMaster(s.PeerCertificates, t.Fingerprint)
			return err
		},
	}}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = c.Close() }()
	if at, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(at); err != nil {
			return nil, nil, err
		}
	}
	if err := writeMessage(c, enrolRequest{ID: t.ID, Secret: t.Secret, CSR: csr}); err != nil {
		return nil, nil, err
	}
	var rep enrolReply
	if err := readMessage(c, &rep); err != nil {
		return nil, nil, err
	}
	if rep.Detail != "" {
		return nil, nil, errors.New(rep.Detail)
	}
	return rep.Cert, ca, nil
}

// verifyMaster checks that the chain is a master's under the authority with the
// fingerprint, and returns the authority's certificate.
func verifyMaster(chain []*x509.Certificate, fingerprint [sha256.Size]byte) (authority []byte, err error) {
	if len(chain) != 2 {
		return nil, fmt.Errorf("the master shows %d certificates, not its own and its domain's", len(chain))
	}
	ca := chain[1]
	if sum := sha256.Sum256(ca.Raw); subtle.ConstantTimeCompare(sum[:], fingerprint[:]) != 1 {
		return nil, errors.New("whoever answers is not of the domain that made the token")
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots}); err != nil {
		return nil, err
	}
	_, id, err := pki.FromCertificate(chain[0])
	if err != nil {
		return nil, err
	}
	if !id.Is(pbx.Master) {
		return nil, fmt.Errorf("%s answers, who is not the domain's master", id)
	}
	return ca.Raw, nil
}

func answerEnrolment(c net.Conn, a *pki.Authority, log *slog.Logger) error {
	var req enrolRequest
	if err := readMessage(c, &req); err != nil {
		return fmt.Errorf("enrolment: %w", err)
	}
	cert, id, err := a.Redeem(pki.Token{ID: req.ID, Secret: req.Secret}, req.CSR)
	rep := enrolReply{Cert: cert}
	switch {
	case errors.Is(err, pki.ErrToken):
		rep.Detail = err.Error()
	case err != nil:
		rep.Detail = "the master could not issue the certificate; see its log"
	default:
		log.Info("enrolled", "identity", id.String(), "peer", c.RemoteAddr(), "at", time.Now().UTC())
	}
	if werr := writeMessage(c, rep); werr != nil {
		err = errors.Join(err, werr)
	}
	if err != nil {
		return fmt.Errorf("enrolment: %w", err)
	}
	return nil
}

func writeMessage(w io.Writer, v any) error {
	b, err := pbx.Encode(v)
	if err != nil {
		return err
	}
	if len(b) > maxEnrolment {
		return fmt.Errorf("message of %d bytes, more than %d", len(b), maxEnrolment)
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

func readMessage(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxEnrolment {
		return fmt.Errorf("message of %d bytes, more than %d", n, maxEnrolment)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return pbx.Decode(b, v)
}
