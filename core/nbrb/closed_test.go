package nbrb

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"capstan/core/nbemm"
	"capstan/core/status"
)

// What is given back lets one more request pass of each kind that may use it, and all
// that wait for a cartridge.
func TestReopen(t *testing.T) {
	tape, group, other, read, full := want{write: true, storage: "tape"}, want{write: true, storage: "group"},
		want{write: true, storage: "disk"}, want{media: "CAP001"}, want{write: true, storage: "tape", pool: "full"}
	s := &Server{closed: map[want]*closed{
		tape: {refusal: refusal{code: status.NoDrive}}, group: {refusal: refusal{code: status.ServerBusy}},
		other: {refusal: refusal{code: status.ServerBusy}}, read: {refusal: refusal{code: status.NoDrive}},
		full: {refusal: refusal{code: status.MediaInUse}},
	}}
	s.reopen(nbemm.Released{For: []string{"tape", "group"}}, nil)
	s.closed[tape].pass-- // a request was granted what came back
	s.reopen(nbemm.Released{For: []string{"tape"}}, nil)
	got := map[want]int{}
	for w, c := range s.closed {
		got[w] = c.pass
	}
	wanted := map[want]int{tape: 1, group: 1, other: 0, read: 2}
	if d := cmp.Diff(wanted, got, cmp.AllowUnexported(want{})); d != "" {
		t.Error(d)
	}
	q := newQueue()
	q.add(Request{Need: nbemm.Request{Write: true, Storage: "disk"}}, 0, 0)
	if w := q.next(0, s.closed, nil); w != nil {
		t.Error("a request may be tried for which nothing was given back")
	}
	q.add(Request{Need: nbemm.Request{Write: true, Storage: "group"}}, 0, 0)
	if w := q.next(0, s.closed, nil); w == nil {
		t.Error("a request may not be tried for which something was given back")
	}
}

// A media server whose drives are busy keeps no restore of another waiting.
func TestServersApart(t *testing.T) {
	q := newQueue()
	read := func(server string) *waiting {
		return q.add(Request{Need: nbemm.Request{Media: "CAP001", Server: server}}, 0, 0)
	}
	first, second := read("a"), read("b")
	refused := map[want]*closed{first.line.want: {refusal: refusal{code: status.NoDrive}}}
	if w := q.next(0, refused, nil); w != second {
		t.Errorf("%v is next, want the restore of media server b", w)
	}
}
