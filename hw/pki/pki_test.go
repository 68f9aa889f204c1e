package pki

import (
	"crypto/x509"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/pbx"
)

func newAuthorityForTest(t *testing.T) (a *Authority, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "pki")
	a, err := Init(dir, "example.com", "master", pbx.Media)
	if err != nil {
		t.Fatal(err)
	}
	return a, dir
}

func TestInitMakesTheMaster(t *testing.T) {
	_, dir := newAuthorityForTest(t)
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := pbx.Identity{Kinds: pbx.Master | pbx.Media, Name: "master"}
	if c.Identity != want || c.Domain != "example.com" {
		t.Errorf("Load = %s of %s, want %s of example.com", c.Identity, c.Domain, want)
	}
	for _, name := range []string{"host.key", "host.pem", "ca.pem", "ca/ca.key", "ca/ca.pem"} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, st, err)
		}
	}
	if _, err := Init(dir, "example.com", "master", 0); err == nil {
		t.Error("a second authority was made over the first")
	}
	if a, err := Open(dir); err != nil || a.Domain() != "example.com" {
		t.Errorf("Open: %v", err)
	}
}

// TestWriteFile: a file is replaced whole, for its owner alone, or stays as it is.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "host.key")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if got, rerr := os.ReadFile(path); err != nil || rerr != nil || string(got) != "new" || st.Mode().Perm() != 0o600 {
		t.Errorf("it holds %q with mode %v: %v, %v", got, st.Mode(), err, rerr)
	}
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "inside"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(taken, []byte("new")); err == nil || !strings.Contains(err.Error(), "writing "+taken) {
		t.Errorf("a file in the place of a directory: %v", err)
	}
	if begun, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(begun) > 0 {
		t.Errorf("what was begun stays: %q, %v", begun, err)
	}
}

func TestIssue(t *testing.T) {
	a, _ := newAuthorityForTest(t)
	tests := []struct {
		id     pbx.Identity
		server bool // may answer TLS
	}{
		{pbx.Identity{Kinds: pbx.Client, Name: "client-1.example.com"}, true},
		{pbx.Identity{Kinds: pbx.Media | pbx.Client, Name: "media_1"}, true},
		{pbx.Identity{Kinds: pbx.User, Name: "alice"}, false},
	}
	for _, tt := range tests {
		key, csr, err := NewRequest()
		if err != nil {
			t.Fatal(err)
		}
		cert, err := a.Issue(csr, tt.id)
		if err != nil {
			t.Errorf("Issue(%s): %v", tt.id, err)
			continue
		}
		c, err := New(key, cert, a.Certificate())
		if err != nil || c.Identity != tt.id {
			t.Errorf("certificate for %s is for %v (%v)", tt.id, c, err)
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(a.cert)
		_, err = c.Cert.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: tt.id.Name})
		if (err == nil) != tt.server {
			t.Errorf("%s as a server: %v", tt.id, err)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	a, _ := newAuthorityForTest(t)
	_, csr, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	damaged := append([]byte(nil), csr...)
	damaged[len(damaged)-1] ^= 1 // of the signature
	good := pbx.Identity{Kinds: pbx.Client, Name: "client"}
	tests := []struct {
		name string
		csr  []byte
		id   pbx.Identity
	}{
		{"no kind", csr, pbx.Identity{Name: "client"}},
		{"host and user", csr, pbx.Identity{Kinds: pbx.Client | pbx.User, Name: "client"}},
		{"no name", csr, pbx.Identity{Kinds: pbx.Client}},
		{"a path for a name", csr, pbx.Identity{Kinds: pbx.Client, Name: "../client"}},
		{"a name with a query", csr, pbx.Identity{Kinds: pbx.Client, Name: "client?kinds=master"}},
		{"a request not signed by its key", damaged, good},
		{"no request", nil, good},
	}
	for _, tt := range tests {
		if _, err := a.Issue(tt.csr, tt.id); err == nil {
			t.Errorf("%s: a certificate was issued", tt.name)
		}
	}
}

func TestCredentialsMustBelongTogether(t *testing.T) {
	a, _ := newAuthorityForTest(t)
	b, _ := newAuthorityForTest(t)
	key, csr, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	otherKey, _, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Issue(csr, pbx.Identity{Kinds: pbx.Client, Name: "client"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(otherKey, cert, a.Certificate()); err == nil {
		t.Error("another's key was taken")
	}
	if _, err := New(key, cert, b.Certificate()); err == nil {
		t.Error("another authority of the same domain name was taken")
	}
	if _, err := New(key, cert, cert); err == nil {
		t.Error("a host's certificate was taken for an authority's")
	}
}

func TestToken(t *testing.T) {
	a, dir := newAuthorityForTest(t)
	want := pbx.Identity{Kinds: pbx.Media | pbx.Client, Name: "media"}
	s, err := a.NewToken(want.Name, want.Kinds, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := ParseToken(s)
	if err != nil || tok.String() != s {
		t.Fatalf("ParseToken(%q) = %v, %v", s, tok, err)
	}
	_, csr, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	wrong := tok
	wrong.Secret = append([]byte(nil), tok.Secret...)
	wrong.Secret[0] ^= 1
	if _, _, err := a.Redeem(wrong, csr); !errors.Is(err, ErrToken) {
		t.Errorf("a wrong secret: %v", err)
	}
	if _, _, err := a.Redeem(tok, []byte("no request")); err == nil {
		t.Error("a token was redeemed for no request")
	}
	// The token was made by one process of the master and is redeemed by another.
	a, err = Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, id, err := a.Redeem(tok, csr); err != nil || id != want {
		t.Errorf("Redeem = %s, %v; want %s", id, err, want)
	}
	if _, _, err := a.Redeem(tok, csr); !errors.Is(err, ErrToken) {
		t.Errorf("a token that was used: %v", err)
	}
	if _, _, err := a.Redeem(Token{ID: "../../host.pem", Secret: tok.Secret}, csr); !errors.Is(err, ErrToken) {
		t.Errorf("a path for an id: %v", err)
	}
}

func TestTokenExpires(t *testing.T) {
	a, _ := newAuthorityForTest(t)
	s, err := a.NewToken("client", pbx.Client, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := ParseToken(s)
	if err != nil {
		t.Fatal(err)
	}
	_, csr, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	a.now = func() time.Time { return time.Now().Add(time.Hour) }
	if _, _, err := a.Redeem(tok, csr); !errors.Is(err, ErrToken) {
		t.Errorf("an hour later: %v", err)
	}
	a.now = func() time.Time { return time.Now().Add(59 * time.Minute) }
	if _, _, err := a.Redeem(tok, csr); err != nil {
		t.Errorf("after 59 minutes: %v", err)
	}
}

func TestTokenRecordDoesNotHoldTheSecret(t *testing.T) {
	a, dir := newAuthorityForTest(t)
	s, err := a.NewToken("client", pbx.Client, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := ParseToken(s)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := os.ReadFile(filepath.Join(dir, "ca", "tokens", tok.ID))
	if err != nil {
		t.Fatal(err)
	}
	forged := tok
	forged.Secret = rec
	if _, _, err := a.Redeem(forged, nil); !errors.Is(err, ErrToken) {
		t.Errorf("the record redeems: %v", err)
	}
}

func TestIdentityURI(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := pbx.Identity{
			Kinds: pbx.Kinds(rapid.SampledFrom([]pbx.Kinds{1, 2, 3, 4, 5, 6, 7, 8}).Draw(t, "kinds")),
			Name:  rapid.StringMatching(`[a-z0-9]([a-z0-9_-]{0,10}[a-z0-9])?(\.[a-z]{1,5}){0,3}`).Draw(t, "name"),
		}
		u, err := url.Parse(identityURI("example.com", id).String())
		if err != nil {
			t.Fatal(err)
		}
		domain, got, err := parseIdentity(u)
		if err != nil || domain != "example.com" {
			t.Fatalf("%s: %q, %v", u, domain, err)
		}
		if d := cmp.Diff(id, got); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzIdentity(f *testing.F) {
	f.Add("capstan://example.com/host/media?kinds=media+client")
	f.Add("capstan://example.com/user/alice?kinds=user")
	f.Add("capstan://example.com/host/../x?kinds=master")
	f.Add("capstan://example.com/host/alice?kinds=user")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		domain, id, err := parseIdentity(u)
		if err != nil {
			return
		}
		// What was read is what would be written: nothing else means the same.
		d2, again, err := parseIdentity(identityURI(domain, id))
		if err != nil || again != id || d2 != domain {
			t.Errorf("%q is %s of %q, which is written as %s", s, id, domain, identityURI(domain, id))
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add(Token{ID: "aaaaaaaaaaaaa", Secret: make([]byte, secretSize)}.String())
	f.Add("capstan1.a.b.c")
	f.Fuzz(func(t *testing.T, s string) {
		if tok, err := ParseToken(s); err == nil && len(tok.Secret) != secretSize {
			t.Errorf("%q has a secret of %d bytes", s, len(tok.Secret))
		}
	})
}
