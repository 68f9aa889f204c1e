package convert

import (
	"time"

	"capstan/core/nbemm"
	"capstan/core/policy"
	"capstan/scenarios"
)

// PolicyFile is the file's form of a policy: what [Policy] makes the same policy of.
func PolicyFile(p *policy.Policy) scenarios.Policy {
	out := scenarios.Policy{
		Name: p.Name, Active: p.Active, Clients: p.Clients, Paths: p.Paths, Exclude: p.Exclude,
		Storage: p.Storage, Pool: p.Pool, Priority: p.Priority, Retention: scenarios.Duration(p.Retention), Timezone: p.Zone,
		Limits: scenarios.Limits{JobsPerPolicy: p.Limits.JobsPerPolicy, JobsPerClient: p.Limits.JobsPerClient},
	}
	if p.Pool == nbemm.DefaultPool {
		out.Pool = scenarios.DefaultPool
	}
	if p.Zone == "" {
		out.Timezone = "UTC"
	}
	for i := range p.Schedules {
		if s := &p.Schedules[i]; s.Name != manual || len(s.Windows) > 0 {
			out.Schedules = append(out.Schedules, ScheduleFile(s))
		}
	}
	return out
}

// ScheduleFile is the file's form of a schedule.
func ScheduleFile(s *policy.Schedule) scenarios.Schedule {
	out := scenarios.Schedule{
		Name: s.Name, Type: "full", Frequency: scenarios.Duration(s.Frequency), Retention: scenarios.Duration(s.Retention),
	}
	if s.Type == policy.Differential {
		out.Type = "differential"
	}
	for _, w := range s.Windows {
		file := scenarios.Window{Days: scenarios.AllDays, Start: scenarios.Clock(w.Start / time.Minute), Length: scenarios.Duration(w.Length)}
		if len(w.Days) > 0 {
			file.Days = 0
			for _, d := range w.Days {
				file.Days |= 1 << d
			}
		}
		out.Windows = append(out.Windows, file)
	}
	return out
}
