package main

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"capstan/reports"
)

// often is how often progress is written where it cannot be drawn.
const often = 10 * time.Second

// progress shows how far something long is, and how long it still takes about: by a
// bar on a terminal, elsewhere by a line now and then.
type progress struct {
	w           io.Writer
	what        string // is counted
	total, done int
	free        atomic.Int64 // of done, what took no time
	began, last time.Time

	drawing *mpb.Progress // nil where nothing can be drawn
	bar     *mpb.Bar
}

func newProgress(w io.Writer, what string, total int) *progress {
	p := &progress{w: w, what: what, total: total, began: time.Now()}
	p.last = p.began
	if isTerminal(w) {
		p.drawing = mpb.New(mpb.WithOutput(w))
		p.bar = p.drawing.New(int64(total), mpb.BarStyle(), mpb.BarWidth(30),
			mpb.PrependDecorators(decor.CountersNoUnit("%d of %d "+what)),
			mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string { return p.left(int(s.Current), int(s.Total)) })))
	}
	return p
}

// more says that there are n more to count than was said.
func (p *progress) more(n int) {
	p.total += n
	if p.bar != nil {
		p.bar.SetTotal(int64(p.total), false)
	}
}

// add counts n more; free says that they took no time.
func (p *progress) add(n int, free bool) {
	p.done += n
	if free {
		p.free.Add(int64(n))
	}
	if p.bar != nil {
		p.bar.IncrBy(n)
		return
	}
	if now := time.Now(); now.Sub(p.last) >= often && p.done < p.total {
		p.last = now
		fmt.Fprintf(p.w, "%d of %d %s, %s\n", p.done, p.total, p.what, p.left(p.done, p.total))
	}
}

// left says how long the rest takes, by what so many of all took.
func (p *progress) left(done, total int) string {
	timed := done - int(p.free.Load())
	if timed <= 0 || done == total {
		return ""
	}
	left := time.Duration(float64(time.Since(p.began)) / float64(timed) * float64(total-done))
	return "about " + reports.Duration(left.Round(time.Second)) + " left"
}

// above is where to write lines that shall stand above the bar: to the bar's own
// terminal through it, else to w.
func (p *progress) above(w io.Writer) io.Writer {
	if p.drawing != nil && p.w == w {
		return p.drawing
	}
	return w
}

// end takes the bar away.
func (p *progress) end() {
	if p.bar == nil {
		return
	}
	if !p.bar.Completed() {
		p.bar.Abort(false)
	}
	p.drawing.Wait()
}
