package workload

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"capstan/scenarios"
)

// Restore is a restore that somebody asks for.
type Restore struct {
	At     time.Duration // after the start
	Client string
	Bytes  int64
	Age    time.Duration // of what is wanted
}

// officeHours are the weights of the hours of a day: an assumption.
var officeHours = func() (w []scenarios.Amount) {
	for h := range 24 {
		w = append(w, 1)
		if h >= 8 && h < 18 {
			w[h] = 10
		}
	}
	return w
}()

// Restores are the restores that the workload of a scenario asks for, by time. There
// are none on the first day: nothing has been backed up that one could ask for.
func Restores(src Source, s *scenarios.Scenario) (all []Restore) {
	loc, err := time.LoadLocation(s.Timezone)
	if err != nil {
		loc = time.UTC // the loader has refused such a zone
	}
	var names []string
	for _, c := range s.EachClient() {
		names = append(names, c.Name)
	}
	first := s.Start.In(loc)
	for i := range s.Workload.Restores {
		q := &s.Workload.Restores[i]
		mine := scenarios.Matching(q.Clients, names)
		for day := 0; day <= int(s.Length.Std()/(24*time.Hour))+1; day++ {
			midnight := time.Date(first.Year(), first.Month(), first.Day()+day, 0, 0, 0, 0, loc)
			for _, r := range src.restoresOf(q, fmt.Sprintf("restores %d", i), day, mine) {
				r.At += midnight.Sub(s.Start)
				if r.At >= 24*time.Hour && r.At <= s.Length.Std() {
					all = append(all, r)
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Restore) int { return cmp.Compare(a.At, b.At) })
	return all
}

// restoresOf are those of one day, at times after its midnight.
func (s Source) restoresOf(q *scenarios.RestoreLoad, entity string, day int, clients []string) (all []Restore) {
	hours := q.Hours
	if len(hours) == 0 {
		hours = officeHours
	}
	n := poisson(float64(q.PerDay), s.Uniform(entity, "number", int64(day)))
	for k := range n {
		id := int64(day)<<20 + int64(k)
		hour := weighted(hours, s.Uniform(entity, "hour", id))
		seconds := s.Uniform(entity, "second", id) * 3600
		all = append(all, Restore{
			At:     time.Duration(hour)*time.Hour + time.Duration(seconds)*time.Second,
			Client: s.choose(entity, id, clients),
			Bytes:  round(s.Draw(or(q.Bytes, &restoreLaw), entity, "bytes", id)),
			Age:    time.Duration(s.Draw(or(q.Age, &ageLaw), entity, "age", id)*86400) * time.Second,
		})
	}
	return all
}

// choose takes the client that has the greatest number drawn for it: a client more
// takes over some choices, and changes none of the others.
func (s Source) choose(entity string, n int64, clients []string) (chosen string) {
	most := 0.0
	for _, c := range clients {
		if u := s.Uniform(c, "chosen for "+entity, n); u > most {
			chosen, most = c, u
		}
	}
	return chosen
}
