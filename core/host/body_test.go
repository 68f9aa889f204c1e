package host

import (
	"bytes"
	"strings"
	"testing"

	"capstan/core/pbx"
)

type work struct {
	Paths []string `json:"paths"`
	Files int64    `json:"files"`
}

// A body is read as what it was made of, whether it was encoded on its way or not.
func TestBody(t *testing.T) {
	given := Value(work{[]string{"/etc"}, 7})
	wire, err := given.Encode()
	if err != nil {
		t.Fatal(err)
	}
	sent, err := pbx.Encode(Spec{Role: "bptm", Args: given})
	if err != nil {
		t.Fatal(err)
	}
	var arrived Spec
	if err := pbx.Decode(sent, &arrived); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]Body{"value": given, "encoded": Encoded(wire), "arrived": arrived.Args} {
		w, err := ReadBody[work](b)
		if err != nil || len(w.Paths) != 1 || w.Paths[0] != "/etc" || w.Files != 7 {
			t.Errorf("%s: it is %+v, %v", name, w, err)
		}
	}
	if _, err := ReadBody[string](given); err == nil || !strings.Contains(err.Error(), "it is a host.work, not a string") {
		t.Errorf("read as another type: %v", err)
	}
	if w, err := ReadBody[work](Body{}); err == nil {
		t.Errorf("nothing was read as %+v", w)
	}
}

// On the wire a body is a string of bytes, and a result that there is not is left out.
func TestBodyOnTheWire(t *testing.T) {
	type bytesExit struct {
		Result []byte `json:"result,omitempty"`
		Code   int    `json:"code,omitempty"`
	}
	for _, result := range []any{nil, struct{}{}, work{Files: 1}, string(make([]byte, 3<<20-5))} {
		e, plain := Exit{Code: 7}, bytesExit{Code: 7}
		if result != nil {
			b, err := pbx.Encode(result)
			if err != nil {
				t.Fatal(err)
			}
			e.Result, plain.Result = Value(result), b
		}
		got, err := pbx.EncodeFile(e)
		if err != nil {
			t.Fatal(err)
		}
		want, err := pbx.EncodeFile(plain)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("a result of type %T is written in %d bytes, and in %d as a string of bytes, or otherwise", result, len(got), len(want))
		}
		var back Exit
		if err := pbx.DecodeFile(got, &back); err != nil {
			t.Fatal(err)
		}
		if w, err := back.Result.Encode(); err != nil || !bytes.Equal(w, plain.Result) {
			t.Errorf("a result of type %T came back in %d bytes, %v", result, len(w), err)
		}
	}
}
