package scenarios

// Policy says what is backed up, where to, when and for how long it is kept.
type Policy struct {
	// The name.
	Name string `yaml:"name" need:"yes" is:"name" ex:"home-to-tape"`
	// An inactive policy starts no backups.
	Active bool `yaml:"active" def:"true"`
	// The hosts to back up. In a scenario, patterns such as "web*" name several.
	Clients []string `yaml:"clients" need:"yes" ex:"[web1, db1]"`
	// The directories and files to back up on each client.
	Paths []string `yaml:"paths" need:"yes" is:"abspath" ex:"[/home, /etc]"`
	// Patterns of paths that are left out.
	Exclude []string `yaml:"exclude,omitempty" is:"glob" ex:"['*.tmp', /home/*/.cache]"`
	// The storage unit or the group to write to.
	Storage string `yaml:"storage" need:"yes" is:"name" ex:"tape1"`
	// The volume pool, instead of the storage unit's.
	Pool string `yaml:"pool,omitempty" is:"name" ex:"Offsite"`
	// Jobs of a higher priority get resources first.
	Priority int `yaml:"priority" def:"0" max:"99999"`
	// How long an image is kept, unless its schedule says otherwise.
	Retention Duration `yaml:"retention" def:"14d" min:"1s"`
	// When backups run. Without any, only by hand.
	Schedules []Schedule `yaml:"schedules,omitempty"`
	// Consumption limits.
	Limits Limits `yaml:"limits"`
	// The zone that windows are in, by its IANA name.
	Timezone string `yaml:"timezone" def:"UTC" is:"timezone"`
}

// Schedule is one kind of backup of a policy, and when it is due.
type Schedule struct {
	// The name.
	Name string `yaml:"name" need:"yes" is:"name" ex:"weekly"`
	// All files, or those changed since the last backup.
	Type string `yaml:"type" need:"yes" oneof:"full|differential" ex:"full"`
	// A backup is due this long after the last of its kind began.
	Frequency Duration `yaml:"frequency" def:"24h" min:"1m"`
	// When a job of the schedule may start.
	Windows []Window `yaml:"windows" need:"yes"`
	// How long its images are kept. 0 is the policy's retention.
	Retention Duration `yaml:"retention,omitempty" ex:"90d"`
}

// Window is a span of time in which jobs may start. It may cross midnight; its
// days are those on which it opens.
type Window struct {
	// The weekdays on which it opens.
	Days Days `yaml:"days" def:"all"`
	// When it opens, in the policy's time zone.
	Start Clock `yaml:"start" need:"yes" ex:"21:00"`
	// How long it stays open.
	Length Duration `yaml:"length" need:"yes" min:"1m" max:"7d" ex:"9h"`
}

// Limits are the most jobs that may be active at once. 0 is no limit.
type Limits struct {
	// Of this policy.
	JobsPerPolicy int `yaml:"jobsPerPolicy" def:"0" max:"999"`
	// Of one client of this policy.
	JobsPerClient int `yaml:"jobsPerClient" def:"1" max:"999"`
}
