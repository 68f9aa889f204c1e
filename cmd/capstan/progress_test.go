package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestLeft: what took no time says nothing of what the rest takes.
func TestLeft(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, "runs", 1000)
	p.add(900, true)
	if left := p.left(900, 1000); left != "" {
		t.Errorf("before anything was run: %q", left)
	}
	p.began, p.last = time.Now().Add(-20_000*time.Second), time.Now().Add(-2*often)
	p.add(10, false)
	if !strings.HasPrefix(b.String(), "910 of 1000 runs, about 2d02h left") {
		t.Errorf("10 of 100 took 20,000 s: %q", b.String())
	}
}
