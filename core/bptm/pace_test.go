package bptm

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/core/stream"
)

func TestBottleneck(t *testing.T) {
	const client, device, none = "the client or the network", "the device", "none, the two sides were balanced"
	for _, c := range []struct {
		rule        string
		restore     bool
		full, empty int64 // waits for, of 1000 blocks
		hollow      bool
		want        string
	}{
		{"backup: the parent waits for full buffers, the source is slow", false, 800, 3, false, client},
		{"backup: the child waits for empty buffers, the device is slow", false, 3, 800, false, device},
		{"restore: the child waits for full buffers, the device is slow", true, 800, 3, false, device},
		{"restore: the parent waits for empty buffers, the client is slow", true, 3, 800, false, client},
		{"both wait, and one not twice as often: balanced", false, 400, 300, false, none},
		{"twice as often decides", false, 600, 300, false, client},
		{"hardly any waits: balanced", false, 50, 0, false, none},
		{"no waits: balanced", true, 0, 0, false, none},
		{"hollow data says nothing of buffers", false, 800, 3, true, "not known, as the data is hollow"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p := pace{restore: c.restore, blocks: 1000, hollow: c.hollow}
			if c.restore {
				p.child.Full, p.parent.Empty = c.full, c.empty
			} else {
				p.parent.Full, p.child.Empty = c.full, c.empty
			}
			if got := p.bottleneck(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestPaceLines(t *testing.T) {
	p := pace{blocks: 4, bytes: 1 << 20, took: 4 * time.Second, parent: stream.Waits{Full: 3}, child: stream.Waits{Empty: 1}}
	want := []string{
		"waited for full buffer 3 times (parent)",
		"waited for empty buffer 1 times (child)",
		"wrote 1048576 bytes in 4s, 262144 bytes/s; bottleneck: the client or the network",
	}
	if d := cmp.Diff(want, p.lines()); d != "" {
		t.Error(d)
	}
	if p := (pace{bytes: 7}); p.rate() != 7 {
		t.Errorf("in no time: %d bytes/s", p.rate())
	}
}
