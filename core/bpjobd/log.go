package bpjobd

import (
	"cmp"
	"context"
	"slices"
	"time"

	"capstan/core/job"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/store"
	"capstan/core/trace"
)

// Lines are what a role says in a job's log: lines with the times at which they were said.
type Lines struct {
	Job  int64      `json:"job"`
	Try  int        `json:"try"`
	Role string     `json:"role"`
	Said []job.Said `json:"said"`
	// Texts are what a host on which Capstan is older says, all at Time.
	Texts []string `json:"texts,omitempty"`
	Time  rt.Time  `json:"time,omitempty"` // 0 is now
}

// LogQuery asks for the lines of a job's log after line N.
type LogQuery struct {
	Job   int64 `json:"job"`
	After int64 `json:"after"`
}

// LogPage is a part of a log. Lines come as bpjobd got them: those of one process in
// the order in which they were said, those of several as much as a second apart.
type LogPage struct {
	Lines []job.Line `json:"lines"`
	More  bool       `json:"more"`
}

// Say adds lines to the log of the context's job, from the context's role, at once. Lines
// that cannot be delivered are dropped: the trace has what matters.
func Say(ctx context.Context, master string, texts ...string) {
	send(ctx, master, say(rt.Now(ctx), texts))
}

func say(now rt.Time, texts []string) []job.Said {
	said := make([]job.Said, len(texts))
	for i, text := range texts {
		said[i] = job.Said{Time: now, Text: text}
	}
	return said
}

func send(ctx context.Context, master string, said []job.Said) {
	j := trace.JobOf(ctx)
	if j.ID == 0 || len(said) == 0 {
		return
	}
	_, err := AddLines.Call(ctx, pbx.At(master, Service), Lines{Job: j.ID, Try: j.Try, Role: trace.RoleOf(ctx), Said: said})
	_ = err // dropped
}

// Log gathers what a process says in its job's log: what is said within a second goes
// in one call. A process flushes its log before it ends; one that is killed loses what
// it said in its last second.
type Log struct {
	master string
	lock   rt.Lock
	said   []job.Said
	turn   *rt.Semaphore // of who sends
}

const (
	gather  = time.Second // for which lines wait at most
	maxSaid = 100         // lines that wait; and those of one record
)

// NewLog makes the log of a process of a job.
func NewLog(ctx context.Context, master string) *Log {
	return &Log{master: master, lock: rt.NewLock(ctx), turn: rt.NewSemaphore(ctx, 1)}
}

// Say adds lines to the log of the context's job, from the context's role.
func (l *Log) Say(ctx context.Context, texts ...string) {
	now := rt.Now(ctx)
	l.lock.Lock()
	first := len(l.said) == 0
	for _, text := range texts {
		l.said = append(l.said, job.Said{Time: now, Text: text})
	}
	full := len(l.said) >= maxSaid
	l.lock.Unlock()
	switch {
	case full:
		l.Flush(ctx)
	case first:
		rt.Go(ctx, "job log", func(ctx context.Context) {
			_ = rt.Sleep(ctx, gather) // or the job ends: then it is time, too
			l.Flush(ctx)
		})
	}
}

// Flush returns when bpjobd has all that was said, or cannot be reached.
func (l *Log) Flush(ctx context.Context) {
	ctx = rt.WithoutCancel(ctx)
	_ = l.turn.Acquire(ctx) // is never cancelled
	defer l.turn.Release()
	l.lock.Lock()
	said := l.said
	l.said = nil
	l.lock.Unlock()
	send(ctx, l.master, said)
}

func (s *Server) addLines(ctx context.Context, from pbx.Peer, q Lines) error {
	q.Said = append(q.Said, say(cmp.Or(q.Time, rt.Now(ctx)), q.Texts)...)
	s.lock.Lock(ctx)
	defer s.lock.Unlock(ctx)
	return s.db.Update(ctx, func(tx store.Tx) error {
		if err := s.check(tx, from, q.Job); err != nil {
			return err
		}
		return s.putLines(tx, job.Lines{Job: q.Job, Try: q.Try, Role: q.Role, Host: from.Name, Said: q.Said})
	})
}

// putLines adds lines at the end of a job's log. A number that a transaction took
// and did not keep is not given again.
func (s *Server) putLines(tx store.Tx, ls job.Lines) error {
	if len(ls.Said) == 0 {
		return nil
	}
	last, known := s.lines[ls.Job]
	if !known {
		if err := job.Log.Range(tx, [2]int64{ls.Job, 0}, [2]int64{ls.Job + 1, 0}, func(old job.Lines) (bool, error) {
			last = old.Last()
			return true, nil
		}); err != nil {
			return err
		}
	}
	for said := range slices.Chunk(ls.Said, maxSaid) {
		part := ls
		part.N, part.Said = last+1, said
		last = part.Last()
		s.lines[ls.Job] = last
		if err := job.Log.Put(tx, [2]int64{part.Job, part.N}, part); err != nil {
			return err
		}
	}
	return nil
}

// pageLines is about how many lines a page has; it ends with a record.
const pageLines = 1000

func (s *Server) readLog(ctx context.Context, from pbx.Peer, q LogQuery) (LogPage, error) {
	var p LogPage
	// The record that has line After may begin before it.
	first := [2]int64{q.Job, max(1, q.After+2-maxSaid)}
	err := s.db.View(ctx, func(tx store.Tx) error {
		p = LogPage{}
		if err := s.check(tx, from, q.Job); err != nil {
			return err
		}
		return job.Log.Range(tx, first, [2]int64{q.Job + 1, 0}, func(ls job.Lines) (bool, error) {
			if len(p.Lines) >= pageLines {
				p.More = true
				return false, nil
			}
			for i := range ls.Said {
				if l := ls.Line(i); l.N > q.After {
					p.Lines = append(p.Lines, l)
				}
			}
			return true, nil
		})
	})
	return p, err
}
