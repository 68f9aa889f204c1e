package main

import (
	"fmt"
	"io"
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
	free        int // of done, what took no time
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
			mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_GO), decor.Name(" left")))
	}
	return p
}

// add counts n more; free says that they took no time.
func (p *progress) add(n int, free bool) {
	p.done += n
	if free {
		p.free += n
	}
	if p.bar != nil {
		p.bar.IncrBy(n)
		return
	}
	if now := time.Now(); now.Sub(p.last) >= often && p.done < p.total {
		p.last = now
		left := time.Duration(float64(now.Sub(p.began)) / float64(max(p.done-p.free, 1)) * float64(p.total-p.done))
		fmt.Fprintf(p.w, "%d of %d %s, about %s left\n", p.done, p.total, p.what, reports.Duration(left.Round(time.Second)))
	}
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
