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

// progress shows how many of many runs are done, and about how long the others
// take: as a bar on a terminal, elsewhere as a line now and then.
type progress struct {
	w           io.Writer
	total       int
	done, kept  int // kept were there already
	began, last time.Time

	drawn *mpb.Progress // nil: it is written
	bar   *mpb.Bar
}

// showProgress shows on w the progress of so many runs.
func showProgress(w io.Writer, total int) *progress {
	p := &progress{w: w, total: total, began: time.Now()}
	p.last = p.began
	if isTerminal(w) {
		p.drawn = mpb.New(mpb.WithOutput(w))
		p.bar = p.drawn.New(int64(total), mpb.BarStyle(), mpb.BarWidth(30),
			mpb.PrependDecorators(decor.CountersNoUnit("%d of %d runs")),
			mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_GO), decor.Name(" left")))
	}
	return p
}

// more says that there are more runs than was said.
func (p *progress) more(n int) {
	p.total += n
	if p.drawn != nil {
		p.bar.SetTotal(int64(p.total), false)
	}
}

// run says that one more is done.
func (p *progress) run(kept bool) {
	p.done++
	if kept {
		p.kept++
	}
	if p.drawn != nil {
		p.bar.Increment()
	} else if now := time.Now(); now.Sub(p.last) >= often && p.done < p.total {
		p.last = now
		left := now.Sub(p.began) / time.Duration(max(p.done-p.kept, 1)) * time.Duration(p.total-p.done)
		fmt.Fprintf(p.w, "%d of %d runs, about %s left\n", p.done, p.total, reports.Duration(left.Round(time.Second)))
	}
}

// above is where to write whole lines that are for out while progress is shown:
// above the bar, if both are on a terminal.
func (p *progress) above(out io.Writer) io.Writer {
	if p.drawn != nil && isTerminal(out) {
		return p.drawn
	}
	return out
}

// end takes the bar away from what follows.
func (p *progress) end() {
	if p.drawn != nil {
		if !p.bar.Completed() {
			p.bar.Abort(false)
		}
		p.drawn.Wait()
	}
	if p.kept > 0 {
		fmt.Fprintf(p.w, "%d of %d runs were there already\n", p.kept, p.total)
	}
}
