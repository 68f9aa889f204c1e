package record

import (
	"capstan/core/job"
	"capstan/core/policy"
)

// Windows finds the windows of jobs.
type Windows struct {
	policies map[string]*policy.Policy
	last     map[[2]string]policy.Span // of a policy's schedule: most jobs have the one before's
}

// NewWindows makes the finder for the policies of a domain.
func NewWindows(policies []policy.Policy) *Windows {
	w := &Windows{policies: map[string]*policy.Policy{}, last: map[[2]string]policy.Span{}}
	for i := range policies {
		w.policies[policies[i].Name] = &policies[i]
	}
	return w
}

// Of is the window in which a backup was due; none if it was queued outside of any,
// as a backup by hand may be.
func (w *Windows) Of(j *job.Job) policy.Span {
	key := [2]string{j.Policy, j.Schedule}
	if s := w.last[key]; s.Open <= j.Created && j.Created < s.Close {
		return s
	}
	p := w.policies[j.Policy]
	if p == nil || j.Type != job.Backup {
		return policy.Span{}
	}
	s, err := p.Schedule(j.Schedule)
	if err != nil {
		return policy.Span{}
	}
	loc, err := p.Location()
	if err != nil {
		return policy.Span{}
	}
	span, ok := s.NextOpen(j.Created, loc)
	if !ok || span.Open > j.Created {
		return policy.Span{}
	}
	w.last[key] = span
	return span
}
