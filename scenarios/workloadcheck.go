package scenarios

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// workload checks a scenario's workload, and puts what it has in other files into
// it: once loaded, a scenario stands alone.
func (r *reader) workload(s *Scenario, clients []string) {
	w := &s.Workload
	for i := range w.Clients {
		c, at := &w.Clients[i], fmt.Sprintf("workload.clients[%d]", i)
		r.patterns(at, c.Clients, clients)
		for _, f := range []struct {
			name string
			law  *Law
		}{{"bytes", c.Bytes}, {"files", c.Files}, {"change", c.Change}, {"nightly", c.Nightly}, {"burst", c.Burst}, {"fixed", c.Fixed}} {
			r.law(at+"."+f.name, f.law)
		}
		if c.Transient > 1 {
			r.say(at+".transient", "%v is out of range; expected at most 1", c.Transient)
		}
	}
	for i := range w.Restores {
		q, at := &w.Restores[i], fmt.Sprintf("workload.restores[%d]", i)
		r.patterns(at, q.Clients, clients)
		r.law(at+".bytes", q.Bytes)
		r.law(at+".age", q.Age)
		if n := len(q.Hours); n != 0 && (n != 24 || !slices.ContainsFunc(q.Hours, func(a Amount) bool { return a > 0 })) {
			r.say(at+".hours", "%d weights; expected 24, one for each hour, and not all 0", n)
		}
	}
	if clients == nil {
		return // there is a mistake in them, which is said: who they are is not known
	}
	r.played(s, clients)
}

// played checks the jobs that are played back, those of the file that the workload
// names, too, and that all other clients have data.
func (r *reader) played(s *Scenario, clients []string) {
	w, all := &s.Workload, s.roster(clients)
	traced := w.Trace != ""
	for i := range w.Jobs {
		j, at := &w.Jobs[i], fmt.Sprintf("workload.jobs[%d]", i)
		if !all.clients[j.Client] {
			r.refersTo(at+".client", "client", j.Client, clients)
		}
		r.within(at+".at", j.At, s)
		if wrong := all.wrong(j); wrong != "" {
			r.say(at+".policy", "%s", wrong)
		}
	}
	if traced {
		r.trace(s, all)
	}
	played := map[string]bool{}
	for i := range w.Jobs {
		played[w.Jobs[i].Client] = true
	}
	r.restoresOfPlayed(w, clients, played)
	if !traced { // else a client without jobs in this time has none to be played back
		r.everyClientHasData(s, played)
	}
}

// restoresOfPlayed refuses restores by clients whose jobs are played back: their files
// are made for each job, and none stays to be restored.
func (r *reader) restoresOfPlayed(w *Workload, clients []string, played map[string]bool) {
	for i := range w.Restores {
		for _, c := range clients {
			if played[c] && matchesAny(w.Restores[i].Clients, c) {
				r.say(fmt.Sprintf("workload.restores[%d].clients", i), "%s has jobs that are played back, and no files to be restored; name other clients", c)
				break
			}
		}
	}
}

// patterns checks that each of some clients' names and patterns is one's.
func (r *reader) patterns(at string, patterns, clients []string) {
	for i, p := range patterns {
		if !slices.ContainsFunc(clients, func(c string) bool { return matchesAny(patterns[i:i+1], c) }) {
			r.refersTo(fmt.Sprintf("%s.clients[%d]", at, i), "client", p, clients)
		}
	}
}

func (r *reader) everyClientHasData(s *Scenario, played map[string]bool) {
	for i := range s.Clients {
		one := Scenario{Clients: s.Clients[i : i+1], Workload: s.Workload}
		for _, c := range one.EachClient() {
			if c.Data == nil && s.Workload.Of(c.Name) < 0 && !played[c.Name] {
				r.say(fmt.Sprintf("clients[%d].data", i), "missing; expected the files and bytes of %s, or an entry of workload.clients, or jobs of it", c.Name)
				break
			}
		}
	}
}

// Of is the entry of a client in the workload's list; -1 if none matches.
func (w *Workload) Of(client string) int {
	return slices.IndexFunc(w.Clients, func(c ClientLoad) bool { return matchesAny(c.Clients, client) })
}

// roster is who is in a scenario, by name: there may be many jobs to be looked up.
type roster struct {
	clients  map[string]bool
	policies map[string]*Policy
}

func (s *Scenario) roster(clients []string) *roster {
	all := &roster{map[string]bool{}, map[string]*Policy{}}
	for _, c := range clients {
		all.clients[c] = true
	}
	for i := range s.Policies {
		if p := &s.Policies[i]; all.policies[p.Name] == nil {
			all.policies[p.Name] = p
		}
	}
	return all
}

// wrong says what is wrong with the policy and schedule of a job, if anything.
func (all *roster) wrong(j *TracedJob) string {
	p := all.policies[j.Policy]
	switch {
	case p == nil:
		return fmt.Sprintf("there is no policy %q; expected one of the scenario's", j.Policy)
	case !all.clients[j.Client] || !matchesAny(p.Clients, j.Client):
		return fmt.Sprintf("policy %q does not back up client %q", j.Policy, j.Client)
	case j.Schedule != "" && !slices.ContainsFunc(p.Schedules, func(x Schedule) bool { return x.Name == j.Schedule }):
		return fmt.Sprintf("policy %q has no schedule %q", j.Policy, j.Schedule)
	}
	return ""
}

// lawFields are the fields that each law needs: of each list exactly one.
var lawFields = map[string][][]string{
	"constant":    {},
	"uniform":     {{"to"}},
	"log-uniform": {{"from"}, {"to"}},
	"exponential": {{"mean"}},
	"log-normal":  {{"mean", "median"}, {"sigma"}},
	"pareto":      {{"mean", "from"}, {"alpha"}},
	"mixture":     {{"parts"}},
	"listed":      {{"values", "csv"}},
}

// mayHave are those that a law may have besides, and else are 0 or nothing; all may
// have atLeast and atMost.
var mayHave = map[string][]string{"constant": {"value"}, "uniform": {"from"}, "listed": {"column"}}

// law checks that a law has the fields that it needs, and no others, and reads the
// values that are in a file of their own.
func (r *reader) law(at string, l *Law) {
	if l == nil || lawFields[l.Law] == nil {
		return // not there, or said already
	}
	allowed := slices.Clone(mayHave[l.Law])
	for _, one := range lawFields[l.Law] {
		n := 0
		for _, f := range one {
			if r.written(at + "." + f) {
				n++
			}
		}
		switch {
		case n == 0:
			r.say(at+"."+one[0], "missing; expected %s, for the law %s", strings.Join(one, " or "), l.Law)
		case n > 1:
			r.say(at+"."+one[0], "not beside the others of %s; expected one of them", strings.Join(one, ", "))
		}
		allowed = append(allowed, one...)
	}
	for _, f := range []string{"value", "from", "to", "mean", "median", "sigma", "alpha", "parts", "values", "csv", "column"} {
		if r.written(at+"."+f) && !slices.Contains(allowed, f) {
			r.say(at+"."+f, "not for the law %s; expected only for others", l.Law)
		}
	}
	r.lawBounds(at, l)
	for i := range l.Parts {
		r.law(fmt.Sprintf("%s.parts[%d].of", at, i), &l.Parts[i].Of)
	}
	if l.CSV != "" {
		l.Values = r.column(at+".csv", l.CSV, l.Column)
		l.CSV, l.Column = "", ""
	}
}

func (r *reader) lawBounds(at string, l *Law) {
	switch {
	case l.Law == "log-uniform" && l.From <= 0, l.Law == "pareto" && r.written(at+".from") && l.From <= 0:
		r.say(at+".from", "%v is out of range; expected above 0", l.From)
	case l.Law == "uniform" && l.To <= 0:
		r.say(at+".to", "%v is out of range; expected above 0", l.To)
	case l.Law == "exponential" && l.Mean <= 0:
		r.say(at+".mean", "%v is out of range; expected above 0", l.Mean)
	case (l.Law == "uniform" || l.Law == "log-uniform") && l.To < l.From:
		r.say(at+".to", "%v is below from, %v; expected at least that", l.To, l.From)
	case l.Law == "log-normal" && (l.Sigma > 10 || l.Sigma <= 0 || l.Mean+l.Median <= 0):
		r.say(at+".sigma", "a log-normal law needs a mean or median above 0, and a sigma above 0 and at most 10")
	case l.Law == "pareto" && (l.Alpha <= 0 || r.written(at+".mean") && l.Alpha <= 1):
		r.say(at+".alpha", "%v is out of range; expected above 0, and above 1 with a mean", l.Alpha)
	}
	if l.AtMost > 0 && l.AtMost < l.AtLeast {
		r.say(at+".atMost", "%v is below atLeast, %v", l.AtMost, l.AtLeast)
	}
	total := Amount(0)
	for _, p := range l.Parts {
		total += p.Weight
	}
	if len(l.Parts) > 0 && total <= 0 {
		r.say(at+".parts", "all weights are 0; expected one above that")
	}
}

// beside is the path of a file that this one names.
func (r *reader) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(r.file), name)
}
