package pbx

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"capstan/core/rt"
	"capstan/core/status"
)

// item is a message like the roles'.
type item struct {
	Name  string           `json:"name"`
	Size  int64            `json:"size,omitempty"`
	Raw   []byte           `json:"raw,omitempty"`
	Parts []item           `json:"parts,omitempty"`
	By    map[string]int64 `json:"by,omitempty"`
}

func genItem(depth int) *rapid.Generator[item] {
	return rapid.Custom(func(t *rapid.T) item {
		it := item{
			Name: string(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "name")),
			Size: rapid.Int64().Draw(t, "size"),
		}
		if b := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "raw"); len(b) > 0 {
			it.Raw = b
		}
		if m := rapid.MapOfN(rapid.String(), rapid.Int64(), 0, 5).Draw(t, "by"); len(m) > 0 {
			it.By = m
		}
		if depth > 0 {
			if p := rapid.SliceOfN(genItem(depth-1), 0, 3).Draw(t, "parts"); len(p) > 0 {
				it.Parts = p
			}
		}
		return it
	})
}

// What is encoded is decoded as it was, names that are no UTF-8 included, and
// equal values have equal bytes.
func TestCodecKeepsValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genItem(3).Draw(t, "item")
		b, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		var got item
		if err := Decode(b, &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		again, err := Encode(got)
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("encoded as %x, then as %x (%v)", b, again, err)
		}
	})
}

func TestCodecLimits(t *testing.T) {
	fits := item{Raw: make([]byte, MaxMessage-32)}
	b, err := Encode(fits)
	if err != nil {
		t.Errorf("%d bytes: %v", len(fits.Raw), err)
	}
	var got item
	if err := Decode(b, &got); err != nil {
		t.Errorf("decoding %d bytes: %v", len(b), err)
	}
	if _, err := Encode(item{Raw: make([]byte, MaxMessage)}); err == nil {
		t.Error("a message over the limit was encoded")
	}
	deep := append(bytes.Repeat([]byte{0x81}, 100), 0x01) // [[[…1…]]]
	bad := map[string][]byte{
		"over the limit":      make([]byte, MaxMessage+1),
		"nested too deep":     deep,
		"more than announced": {0xa1, 0x65, 'n', 'a', 'm', 'e', 's', 0x9a, 0xff, 0xff, 0xff, 0xff},
		"indefinite length":   {0xbf, 0xff},
		"a tag":               {0xc1, 0x01},
		"two values":          {0xa0, 0xa0},
		"nothing":             {},
	}
	for name, b := range bad {
		var v any
		if err := Decode(b, &v); err == nil {
			t.Errorf("%s: decoded as %v", name, v)
		}
	}
}

// A newer peer may send fields that this one does not know.
func TestCodecIgnoresUnknownFields(t *testing.T) {
	b, err := Encode(map[string]any{"name": "a", "newer": []int{1}})
	if err != nil {
		t.Fatal(err)
	}
	var got item
	if err := Decode(b, &got); err != nil || got.Name != "a" {
		t.Errorf("decoded %+v, %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	b, err := Encode(item{Name: "a", Parts: []item{{Name: "b", Raw: []byte{1}}}, By: map[string]int64{"c": 1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0x9a, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var v item
		if Decode(b, &v) != nil {
			return
		}
		once, err := Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		var w item
		if err := Decode(once, &w); err != nil {
			t.Fatalf("%+v cannot be read again: %v", v, err)
		}
		twice, err := Encode(w)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("written as %x, then as %x (%v)", once, twice, err)
		}
	})
}

func TestKinds(t *testing.T) {
	for k := Kinds(1); k < 1<<4; k++ {
		if got, ok := ParseKinds(k.String()); !ok || got != k {
			t.Errorf("ParseKinds(%q) = %v, %v", k, got, ok)
		}
	}
	for _, s := range []string{"", "root", "master+", "+", "Master"} {
		if k, ok := ParseKinds(s); ok {
			t.Errorf("ParseKinds(%q) = %v", s, k)
		}
	}
}

func TestAddr(t *testing.T) {
	tests := []struct {
		addr                Addr
		host, service, role string
	}{
		{At("master", "nbjm"), "master", "nbjm", "nbjm"},
		{ProcessAt("media", "bptm", 123, 1, 0), "media", "bptm/123/1/0", "bptm"},
		{"", "", "", ""},
	}
	for _, tt := range tests {
		if tt.addr.Host() != tt.host || tt.addr.Service() != tt.service || tt.addr.Role() != tt.role {
			t.Errorf("%q: host %q, service %q, role %q", tt.addr, tt.addr.Host(), tt.addr.Service(), tt.addr.Role())
		}
	}
}

// task is enough of a world for a Mux whose handlers do not wait.
type task struct {
	rt.Task
	state rt.TaskState
	now   time.Duration
}

type noLock struct{}

func (noLock) Lock()   {}
func (noLock) Unlock() {}

func (*task) Check()                 {}
func (*task) NewLock() rt.Lock       { return noLock{} }
func (t *task) State() *rt.TaskState { return &t.state }
func (t *task) Mono() time.Duration  { return t.now }

var increment = Declare[struct{}, int]("test", "Increment", Hosts|User)

// counting is a mux whose one method counts how often it is called.
func counting() (context.Context, *Mux, *int) {
	ctx := rt.WithTask(context.Background(), &task{})
	mux, n := NewMux(ctx, "tester", 0), new(int)
	Handle(mux, increment, func(context.Context, Peer, struct{}) (int, error) { *n++; return *n, nil })
	return ctx, mux, n
}

func request(from Addr, inc, seq uint64) *Request {
	return &Request{Method: increment.Name(), Body: struct{}{}, Head: Head{From: from, Inc: inc, Seq: seq}}
}

// A repetition gets the first reply. The same numbers of another identity, or of
// another incarnation, are another request: nobody can use up, or be given, the
// reply to someone else's.
func TestRepetition(t *testing.T) {
	client := Identity{Kinds: Client, Name: "client"}
	alice := Identity{Kinds: User, Name: "alice"}
	media := Identity{Kinds: Media, Name: "media"}
	ctx, mux, n := counting()
	steps := []struct {
		who  Identity
		from Addr
		inc  uint64
		seq  uint64
		code status.Code
		want int // the reply
	}{
		{alice, "client/bpbkar", 1, 1, status.OK, 1}, // a user may run anywhere
		{media, "client/bpbkar", 1, 1, status.NotAllowed, 0},
		{client, "client/bpbkar", 1, 1, status.OK, 2},
		{client, "client/bpbkar", 1, 1, status.OK, 2},
		{client, "client/bpbkar", 1, 2, status.OK, 3},
		{client, "client/bpbkar", 2, 1, status.OK, 4},
		{client, "client/tar", 1, 1, status.OK, 5},
		{alice, "client/bpbkar", 1, 1, status.OK, 1},
	}
	for i, s := range steps {
		rep := mux.Serve(ctx, s.who, request(s.from, s.inc, s.seq))
		if got, _ := rep.Body.(int); rep.Code != s.code || got != s.want {
			t.Errorf("step %d, %s: reply %v, code %d (%s); want %d, code %d", i, s.who, rep.Body, rep.Code, rep.Detail, s.want, s.code)
		}
	}
	if *n != 5 {
		t.Errorf("done %d times, want 5", *n)
	}
}

// check demands that every request that is remembered is in its caller's list, which
// is sorted, and nothing else is. It returns how many they are.
func (y *memory) check(t *testing.T) int {
	t.Helper()
	listed := map[*remembered]bool{}
	for inc, r := range y.highest {
		for ; r != nil; r = r.lower {
			listed[r] = true
			if r.inc != inc || r.lower != nil && (r.lower.seq > r.seq || r.lower.higher != r) {
				t.Errorf("request %d of incarnation %d is in the wrong place of the list of %d", r.seq, r.inc, inc)
			}
		}
	}
	n := 0
	for r := y.oldest; r != nil; r = r.later {
		n++
		if !listed[r] {
			t.Errorf("request %d of incarnation %d is in no list", r.seq, r.inc)
		}
	}
	if n != y.count || n != len(listed) {
		t.Errorf("%d requests in order, %d counted, %d in lists", n, y.count, len(listed))
	}
	return n
}

// Requests that overtake others, of several callers that may have the same numbers,
// are each done once.
func TestOvertakingRequests(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		ctx, mux, n := counting()
		world := rt.Current(ctx).(*task)
		first := map[Head]int{} // the reply
		for range rapid.IntRange(1, 60).Draw(r, "requests") {
			who := rapid.SampledFrom([]string{"a", "b"}).Draw(r, "who")
			h := Head{From: At(who, "bpbkar"), Inc: rapid.Uint64Range(1, 2).Draw(r, "inc"), Seq: rapid.Uint64Range(1, 9).Draw(r, "seq")}
			world.now += time.Duration(rapid.Int64Range(0, int64(rememberedTime/100)).Draw(r, "later"))
			rep := mux.Serve(ctx, Identity{Kinds: Client, Name: who}, request(h.From, h.Inc, h.Seq))
			want, again := first[h]
			if !again {
				want = len(first) + 1
				first[h] = want
			}
			if got, _ := rep.Body.(int); got != want || *n != len(first) {
				r.Fatalf("request %+v got reply %v after %d, want %d after %d", h, rep.Body, *n, want, len(first))
			}
			mux.memory.check(t)
		}
	})
}

// A service remembers enough replies for its callers' repetitions, and forgets
// the oldest.
func TestRememberedReplies(t *testing.T) {
	client := Identity{Kinds: Client, Name: "client"}
	ctx, mux, n := counting()
	last := uint64(2*rememberedReplies + 10)
	for seq := uint64(1); seq <= last; seq++ {
		mux.Serve(ctx, client, request("client/bpbkar", 1, seq))
	}
	done := *n
	for seq := last - rememberedReplies/2 + 1; seq <= last; seq++ {
		mux.Serve(ctx, client, request("client/bpbkar", 1, seq))
	}
	if *n != done {
		t.Errorf("of the last %d requests %d were done again", rememberedReplies/2, *n-done)
	}
	if kept := mux.memory.check(t); kept > rememberedReplies {
		t.Errorf("remembers %d replies, at most %d", kept, rememberedReplies)
	}
}

// Replies are kept for a while after they were given, and no longer.
func TestOldRepliesAreForgotten(t *testing.T) {
	client := Identity{Kinds: Client, Name: "client"}
	ctx, mux, n := counting()
	world := rt.Current(ctx).(*task)
	for _, c := range []struct {
		at   time.Duration
		seq  uint64
		done int // so far
		kept int // replies
	}{
		{0, 1, 1, 1},
		{rememberedTime - 1, 1, 1, 1},
		{rememberedTime - 1, 2, 2, 2},
		{rememberedTime, 3, 3, 2},
		{rememberedTime, 1, 4, 3},
		{3 * rememberedTime, 4, 5, 1},
	} {
		world.now = c.at
		mux.Serve(ctx, client, request("client/bpbkar", 1, c.seq))
		if kept := mux.memory.check(t); *n != c.done || kept != c.kept {
			t.Errorf("at %v, request %d: %d done, %d remembered, want %d and %d", c.at, c.seq, *n, kept, c.done, c.kept)
		}
	}
}

func TestMalformedRequests(t *testing.T) {
	client := Identity{Kinds: Client, Name: "client"}
	ctx, mux, _ := counting()
	bad := request("client/bpbkar", 1, 1)
	bad.Body = Wire{0xff}
	if rep := mux.Serve(ctx, client, bad); rep.Code != status.BadParameter || !strings.Contains(rep.Detail, "test.Increment") {
		t.Errorf("a body that cannot be read: code %d, %q", rep.Code, rep.Detail)
	}
	none := request("client/bpbkar", 1, 2)
	none.Body = Wire{}
	if rep := mux.Serve(ctx, client, none); rep.Code != status.BadParameter {
		t.Errorf("no body: code %d", rep.Code)
	}
}

// What a handler asks for with AfterReply runs in that order, with the reply that goes
// out first: that of a repetition does nothing more.
func TestAfterReply(t *testing.T) {
	client := Identity{Kinds: Client, Name: "client"}
	ctx := rt.WithTask(context.Background(), &task{})
	mux, got := NewMux(ctx, "tester", 0), ""
	Handle(mux, increment, func(ctx context.Context, _ Peer, _ struct{}) (int, error) {
		for _, word := range []string{"a", "b", "c"} {
			AfterReply(ctx, func() { got += word })
		}
		return 1, nil
	})
	first := mux.Serve(ctx, client, request("client/bpbkar", 1, 1))
	again := mux.Serve(ctx, client, request("client/bpbkar", 1, 1))
	if got != "" {
		t.Errorf("before the reply: %q", got)
	}
	again.Sent()
	first.Sent()
	if got != "abc" {
		t.Errorf("after the replies: %q, want abc", got)
	}
}

// A handler's context that outlives its reply is no place to ask for anything after it.
func TestAfterReplyTooLate(t *testing.T) {
	ctx := rt.WithTask(context.Background(), &task{})
	mux := NewMux(ctx, "tester", 0)
	var kept context.Context
	Handle(mux, increment, func(ctx context.Context, _ Peer, _ struct{}) (int, error) {
		kept = ctx
		AfterReply(ctx, func() {})
		return 1, nil
	})
	mux.Serve(ctx, Identity{Kinds: Client, Name: "client"}, request("client/bpbkar", 1, 1)).Sent()
	defer func() {
		if recover() != "pbx: AfterReply after the reply" {
			t.Error("it was taken")
		}
	}()
	AfterReply(kept, func() {})
}
