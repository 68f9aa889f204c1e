package pki

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"capstan/core/pbx"
)

// A token is "capstan1.<id>.<secret>.<fingerprint>", each part in lower-case
// base32 (RFC 4648) without padding: 8 bytes that name its record at the master,
// 20 random bytes, and the SHA-256 of the authority's certificate.
const (
	tokenVersion = "capstan1"
	idSize       = 8
	secretSize   = 20
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ErrToken says that a token is wrong, used or expired. It does not say which:
// who holds no valid token shall learn nothing.
var ErrToken = errors.New("the enrolment token is wrong, used or expired; ask the master's operator for a new one")

// Token is an enrolment token, taken apart.
type Token struct {
	ID          string // names the record at the master
	Secret      []byte
	Fingerprint [sha256.Size]byte // of the authority's certificate
}

func (t Token) String() string {
	return strings.Join([]string{tokenVersion, t.ID, base32Lower.EncodeToString(t.Secret), base32Lower.EncodeToString(t.Fingerprint[:])}, ".")
}

// ParseToken reads what [Authority.NewToken] made.
func ParseToken(s string) (Token, error) {
	part := strings.Split(strings.TrimSpace(s), ".")
	if len(part) != 4 || part[0] != tokenVersion {
		return Token{}, fmt.Errorf("not an enrolment token: it begins with %q and has four parts", tokenVersion)
	}
	var raw [3][]byte
	for i, size := range [3]int{idSize, secretSize, sha256.Size} {
		b, err := base32Lower.DecodeString(part[i+1])
		if err != nil || len(b) != size || base32Lower.EncodeToString(b) != part[i+1] {
			return Token{}, fmt.Errorf("not an enrolment token: part %d is damaged; was it copied whole?", i+2)
		}
		raw[i] = b
	}
	return Token{ID: part[1], Secret: raw[1], Fingerprint: [sha256.Size]byte(raw[2])}, nil
}

// tokenRecord is what the master keeps of a token: enough to know it, not to make it.
type tokenRecord struct {
	Hash    []byte    `json:"hash"` // SHA-256 of the secret
	Name    string    `json:"name"`
	Kinds   string    `json:"kinds"`
	Expires time.Time `json:"expires"`
}

// NewToken makes a token with which one host or user can be enrolled under a
// name, once, within ttl.
func (a *Authority) NewToken(name string, kinds pbx.Kinds, ttl time.Duration) (string, error) {
	if err := CheckIdentity(pbx.Identity{Kinds: kinds, Name: name}); err != nil {
		return "", err
	}
	if ttl <= 0 {
		return "", fmt.Errorf("a token that lives %v cannot be used", ttl)
	}
	random := make([]byte, idSize+secretSize)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	t := Token{
		ID: base32Lower.EncodeToString(random[:idSize]), Secret: random[idSize:],
		Fingerprint: sha256.Sum256(a.cert.Raw),
	}
	hash := sha256.Sum256(t.Secret)
	rec, err := json.Marshal(tokenRecord{Hash: hash[:], Name: name, Kinds: kinds.String(), Expires: a.now().Add(ttl).UTC()})
	if err != nil {
		return "", fmt.Errorf("encoding the token's record: %w", err)
	}
	if err := writeFile(a.tokenPath(t.ID), rec); err != nil {
		return "", err
	}
	return t.String(), nil
}

func (a *Authority) tokenPath(id string) string { return filepath.Join(a.dir, "tokens", id) }

// Redeem certifies the key of a request for whom the token was made, and spends
// the token. [ErrToken] is all that a wrong one learns.
func (a *Authority) Redeem(t Token, csr []byte) (cert []byte, id pbx.Identity, err error) {
	if b, err := base32Lower.DecodeString(t.ID); err != nil || len(b) != idSize {
		return nil, id, ErrToken // the id becomes a file name
	}
	id, err = a.checkToken(t)
	if err != nil {
		return nil, id, err
	}
	cert, err = a.Issue(csr, id)
	if err != nil {
		return nil, id, err
	}
	// Only one of several callers can remove the record. It is spent before the
	// certificate leaves: after a crash between, a new token is asked for.
	if err := os.Remove(a.tokenPath(t.ID)); errors.Is(err, fs.ErrNotExist) {
		return nil, id, ErrToken
	} else if err != nil {
		return nil, id, fmt.Errorf("spending a token: %w", err)
	}
	if err := syncDir(filepath.Dir(a.tokenPath(t.ID))); err != nil {
		return nil, id, fmt.Errorf("spending a token: %w", err)
	}
	return cert, id, nil
}

func (a *Authority) checkToken(t Token) (pbx.Identity, error) {
	data, err := os.ReadFile(a.tokenPath(t.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return pbx.Identity{}, ErrToken
	}
	if err != nil {
		return pbx.Identity{}, fmt.Errorf("reading a token's record: %w", err)
	}
	var rec tokenRecord
	if err := json.Unmarshal(data, &rec); err != nil {
		return pbx.Identity{}, fmt.Errorf("token's record %s: %w; remove it", a.tokenPath(t.ID), err)
	}
	kinds, known := pbx.ParseKinds(rec.Kinds)
	hash := sha256.Sum256(t.Secret)
	if subtle.ConstantTimeCompare(hash[:], rec.Hash) != 1 || !known || !a.now().Before(rec.Expires) {
		return pbx.Identity{}, ErrToken
	}
	return pbx.Identity{Kinds: kinds, Name: rec.Name}, nil
}
