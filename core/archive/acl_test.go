package archive

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/archive/pax"
	"capstan/core/tree"
)

func TestACL(t *testing.T) {
	const text = "user::rw-,user:74565:r-x,group::r--,group:1:---,mask::rwx,other::--x\n"
	v, err := aclValue(text)
	if err != nil || len(v) != 4+6*8 {
		t.Fatalf("%x, %v", v, err)
	}
	if got, err := aclText(v); err != nil || got != text {
		t.Errorf("%q, %v; want %q", got, err, text)
	}
	for _, same := range []string{
		"user::rw-\nuser:somebody:r-x:74565\ngroup::r--\ngroup:1:---\nmask::rwx\nother::--x", // star's fourth field
		"user::rw-,user:74565:r-x\t#effective:r--,group::r--,group:1:---,mask::rwx,other::--x",
	} {
		if got, err := aclValue(same); err != nil || !cmp.Equal(got, v) {
			t.Errorf("%q: %x, %v", same, got, err)
		}
	}
	for _, bad := range []string{"user:daemon:rwx", "user::rwz", "nobody::rwx", "user", "mask:1:rwx", "user:99999999999:r--"} {
		if got, err := aclValue(bad); err == nil {
			t.Errorf("%q is taken for %x", bad, got)
		}
	}
	for _, bad := range [][]byte{nil, v[:5], append([]byte{3}, v[1:]...), append(v[:len(v):len(v)], 0xff, 0, 0, 0, 0, 0, 0, 0)} {
		if got, err := aclText(bad); err == nil {
			t.Errorf("%x is taken for %q", bad, got)
		}
	}
}

// TestXattrRecords: the attribute is preferred to the text, which is there for
// other programs; a text alone is taken.
func TestXattrRecords(t *testing.T) {
	v, err := aclValue("user::rw-,group::r--,other::---")
	if err != nil {
		t.Fatal(err)
	}
	xs := []tree.Xattr{{Name: "system.posix_acl_access", Value: v}, {Name: "user.a%=b", Value: []byte{0, '\n'}}}
	recs := xattrRecords(xs)
	got, err := xattrs(recs)
	if d := cmp.Diff(xs, got); err != nil || d != "" {
		t.Fatalf("%v\n%s", err, d)
	}
	got, err = xattrs([]pax.Record{{Key: "SCHILY.acl.access", Value: "user::rw-,group::r--,other::---"}})
	if d := cmp.Diff(xs[:1], got); err != nil || d != "" {
		t.Fatalf("%v\n%s", err, d)
	}
}
