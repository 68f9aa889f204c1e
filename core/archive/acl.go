package archive

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"capstan/core/archive/pax"
	"capstan/core/tree"
)

// How extended attributes and ACLs are written in pax records: star's keywords,
// which GNU tar and bsdtar know.
const (
	xattrKey = "SCHILY.xattr."
	aclKey   = "SCHILY.acl."
	aclAttr  = "system.posix_acl_"
)

// xattrRecords writes extended attributes. An ACL is written twice: as the
// attribute that the kernel gives, which needs no interpretation, and as the text
// from which GNU tar --acls restores it.
func xattrRecords(xs []tree.Xattr) []pax.Record {
	var recs []pax.Record
	for _, x := range xs {
		if kind, ok := strings.CutPrefix(x.Name, aclAttr); ok {
			if t, err := aclText(x.Value); err == nil {
				recs = append(recs, pax.Record{Key: aclKey + kind, Value: t})
			}
		}
		recs = append(recs, pax.Record{Key: xattrKey + escape.Replace(x.Name), Value: string(x.Value)})
	}
	return recs
}

// escape writes what a keyword cannot hold, as GNU tar does.
var (
	escape   = strings.NewReplacer("%", "%25", "=", "%3D")
	unescape = strings.NewReplacer("%25", "%", "%3D", "=", "%3d", "=")
)

// xattrs reads the attributes of a member back. An ACL that is there as text
// only, as GNU tar writes it, is taken from the text.
func xattrs(recs []pax.Record) ([]tree.Xattr, error) {
	var out []tree.Xattr
	texts := [2]string{}
	var has [2]bool
	kinds := [2]string{"access", "default"}
	for _, r := range recs {
		if name, ok := strings.CutPrefix(r.Key, xattrKey); ok {
			name = unescape.Replace(name)
			for i, k := range kinds {
				has[i] = has[i] || name == aclAttr+k
			}
			out = append(out, tree.Xattr{Name: name, Value: []byte(r.Value)})
		}
		for i, k := range kinds {
			if r.Key == aclKey+k {
				texts[i] = r.Value
			}
		}
	}
	for i, t := range texts {
		if t == "" || has[i] {
			continue
		}
		v, err := aclValue(t)
		if err != nil {
			return out, err
		}
		out = append(out, tree.Xattr{Name: aclAttr + kinds[i], Value: v})
	}
	return out, nil
}

// The attribute is that of Linux's posix_acl_xattr.h: a version, then entries of
// tag, permissions and id, little endian.
const (
	aclVersion = 2
	aclEntry   = 8
	aclNoID    = 0xffffffff
)

var aclTags = []struct {
	tag  uint16
	name string
	id   bool
}{
	{0x01, "user", false}, {0x02, "user", true}, {0x04, "group", false},
	{0x08, "group", true}, {0x10, "mask", false}, {0x20, "other", false},
}

// aclText writes an ACL as text with numeric ids, which every host understands.
func aclText(v []byte) (string, error) {
	if len(v) < 4 || (len(v)-4)%aclEntry != 0 || binary.LittleEndian.Uint32(v) != aclVersion {
		return "", fmt.Errorf("an ACL of %d bytes that is not of version %d", len(v), aclVersion)
	}
	var parts []string
	for v = v[4:]; len(v) > 0; v = v[aclEntry:] {
		tag, perm := binary.LittleEndian.Uint16(v), binary.LittleEndian.Uint16(v[2:])
		part := ""
		for _, t := range aclTags {
			if t.tag == tag && t.id {
				part = t.name + ":" + strconv.FormatUint(uint64(binary.LittleEndian.Uint32(v[4:])), 10)
			} else if t.tag == tag {
				part = t.name + ":"
			}
		}
		if part == "" || perm > 7 {
			return "", fmt.Errorf("an ACL with tag %#x, permissions %#o", tag, perm)
		}
		parts = append(parts, part+":"+permText(perm))
	}
	return strings.Join(parts, ",") + "\n", nil
}

func permText(p uint16) string {
	b := []byte("---")
	for i, c := range "rwx" {
		if p&(4>>i) != 0 {
			b[i] = byte(c)
		}
	}
	return string(b)
}

// aclValue reads the text of an ACL. Names of users and groups cannot be looked
// up here; star's fourth field, the numeric id, is used where it is there.
func aclValue(text string) ([]byte, error) {
	v := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' }) {
		part, _, _ = strings.Cut(part, "#")
		f := strings.Split(strings.TrimSpace(part), ":")
		if len(f) < 3 || len(f) > 4 {
			return nil, fmt.Errorf("the ACL entry %q is not understood", part)
		}
		e, err := aclEntryValue(f)
		if err != nil {
			return nil, fmt.Errorf("the ACL entry %q: %w", part, err)
		}
		v = append(v, e...)
	}
	return v, nil
}

func aclEntryValue(f []string) ([]byte, error) {
	var perm uint16
	for _, c := range f[2] {
		i := strings.IndexRune("rwx", c)
		if i < 0 && c != '-' {
			return nil, fmt.Errorf("permissions %q", f[2])
		}
		if i >= 0 {
			perm |= 4 >> i
		}
	}
	id := uint64(aclNoID)
	if f[1] != "" {
		n, err := strconv.ParseUint(f[len(f)-1], 10, 32)
		if len(f) == 3 {
			n, err = strconv.ParseUint(f[1], 10, 32)
		}
		if err != nil {
			return nil, fmt.Errorf("the name %q has no number", f[1])
		}
		id = n
	}
	for _, t := range aclTags {
		if t.name == f[0] && t.id == (f[1] != "") {
			b := binary.LittleEndian.AppendUint16(nil, t.tag)
			b = binary.LittleEndian.AppendUint16(b, perm)
			return binary.LittleEndian.AppendUint32(b, uint32(id)), nil
		}
	}
	return nil, fmt.Errorf("tag %q", f[0])
}
