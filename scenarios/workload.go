package scenarios

// Workload is what the clients of a scenario hold, and what becomes of it, by laws
// of chance instead of fixed numbers; or a record of jobs that is played back.
type Workload struct {
	// What clients hold that have no data of their own: the first entry that matches a client's name is its.
	Clients []ClientLoad `yaml:"clients,omitempty"`
	// Restores that people ask for, beside those of the scenario.
	Restores []RestoreLoad `yaml:"restores,omitempty"`
	// Jobs that are started at given times with given sizes, whatever the windows say.
	Jobs []TracedJob `yaml:"jobs,omitempty"`
	// A file of such jobs: CSV with a line of titles, or what "capstan jobs --json" writes. Its path is seen from this file. Jobs outside the scenario's time are left out.
	Trace string `yaml:"trace,omitempty" ex:"jobs.csv"`
}

// ClientLoad is what each of some clients holds. Whatever is drawn is drawn for each
// client, by the seed and its name alone: another drive or client changes nothing
// of it. What is left out is as in the survey of 40,000 domains by Amvrosiadis and
// Bhadkamkar (USENIX ATC 2015): backups of 47.1 GB in 75,916 files, incremental
// ones of 34.9 GB in 52,033, and with 29 % of the clients no full is larger than
// an incremental.
type ClientLoad struct {
	// The clients, by names and patterns of names.
	Clients []string `yaml:"clients" need:"yes" is:"glob" ex:"['web*']"`
	// All the data of a client on the first day, in bytes.
	Bytes *Law `yaml:"bytes,omitempty"`
	// In how many files. Default: 620 kB each, as in the survey.
	Files *Law `yaml:"files,omitempty"`
	// The part of a client's data that changes in a day, drawn once for each client.
	Change *Law `yaml:"change,omitempty"`
	// By what that part is multiplied in a night, drawn for each night. Default: 1.
	Nightly *Law `yaml:"nightly,omitempty"`
	// How much there is more after a year of steady growth: 30% or 0.3.
	Growth Amount `yaml:"growth,omitempty" ex:"30%"`
	// How many times in a year a client's data grows at one stroke.
	Bursts Amount `yaml:"bursts,omitempty" ex:"2"`
	// By which part of it the data grows then. Default: uniform, 10 % to 50 %.
	Burst *Law `yaml:"burst,omitempty"`
	// The directory that the data is under.
	Root string `yaml:"root" def:"/data" is:"abspath"`
	// The part of the tries of backups that fail for a reason that is gone at the next: a process of the job dies.
	Transient Amount `yaml:"transient,omitempty" ex:"1%"`
	// How many times in a year a client is misconfigured: every backup fails until somebody sees to it.
	Misconfigured Amount `yaml:"misconfigured,omitempty" ex:"0.5"`
	// After how many days somebody has seen to it. Default: exponential, 3 days.
	Fixed *Law `yaml:"fixed,omitempty"`
}

// RestoreLoad is people who ask for restores, at random times (a Poisson process),
// from the second day on.
type RestoreLoad struct {
	// Whose files are asked for, by names and patterns of names; each client as often as another.
	Clients []string `yaml:"clients" need:"yes" is:"glob" ex:"['*']"`
	// How many restores are asked for in a day, of all these clients together.
	PerDay Amount `yaml:"perDay" need:"yes" ex:"2.5"`
	// How much is asked for, at most all that the client has. Default: 51.8 GB in the mean, as in the survey.
	Bytes *Law `yaml:"bytes,omitempty"`
	// How many days old what is asked for is. Default: exponential, 7 days.
	Age *Law `yaml:"age,omitempty"`
	// How likely each hour of the day is, from midnight in the scenario's zone: 24 weights. Default: 10 from eight to six, else 1.
	Hours []Amount `yaml:"hours,omitempty" ex:"[1, 1, 1, 1, 1, 1, 1, 5, 9, 9, 9, 9, 5, 9, 9, 9, 9, 5, 2, 2, 2, 1, 1, 1]"`
}

// TracedJob is a backup that is started at a time, and finds so much to copy.
type TracedJob struct {
	// When, after the start.
	At Duration `yaml:"at" need:"yes" ex:"3h20m"`
	// The client.
	Client string `yaml:"client" need:"yes" is:"name" ex:"web1"`
	// The policy.
	Policy string `yaml:"policy" need:"yes" is:"name" ex:"web"`
	// The schedule. Default: the policy's first.
	Schedule string `yaml:"schedule,omitempty" is:"name" ex:"nightly"`
	// How much the backup copies.
	Bytes Size `yaml:"bytes" need:"yes" ex:"47GB"`
	// In how many files.
	Files int64 `yaml:"files" def:"1" min:"1" max:"10000000000"`
}

// Law is a law of chance. Which fields it has depends on the law: constant takes a
// value (0 if left out); uniform from (0 if left out) and to; log-uniform, in which
// each power of ten is as likely, from and to, both above 0; exponential a mean;
// log-normal a mean or a median, and sigma; pareto a mean or the least value, from, and
// alpha; mixture parts; and listed values or a csv, each of which is as likely.
type Law struct {
	// Which law.
	Law string `yaml:"law" need:"yes" oneof:"constant|uniform|log-uniform|exponential|log-normal|pareto|mixture|listed" ex:"log-normal"`
	// Of constant: the value.
	Value Amount `yaml:"value,omitempty" ex:"47.1GB"`
	// Of uniform, log-uniform and pareto: the least value.
	From Amount `yaml:"from,omitempty" ex:"1GB"`
	// Of uniform and log-uniform: the greatest value.
	To Amount `yaml:"to,omitempty" ex:"1TB"`
	// Of exponential, log-normal and pareto: the mean.
	Mean Amount `yaml:"mean,omitempty" ex:"47.1GB"`
	// Of log-normal: the median, instead of the mean.
	Median Amount `yaml:"median,omitempty" ex:"18GB"`
	// Of log-normal: the standard deviation of the natural logarithm.
	Sigma Amount `yaml:"sigma,omitempty" ex:"1.4"`
	// Of pareto: the exponent of its tail. The mean exists if it is above 1.
	Alpha Amount `yaml:"alpha,omitempty" ex:"1.2"`
	// Of mixture: other laws, one of which is drawn.
	Parts []Part `yaml:"parts,omitempty"`
	// Of listed: the values.
	Values []Amount `yaml:"values,omitempty" ex:"[10GB, 12GB, 300GB]"`
	// Of listed: a CSV file with a line of titles, whose path is seen from this file.
	CSV string `yaml:"csv,omitempty" ex:"sizes.csv"`
	// Of listed with csv: the title of the column. Default: the first.
	Column string `yaml:"column,omitempty" ex:"bytes"`
	// Whatever is drawn below this is this.
	AtLeast Amount `yaml:"atLeast,omitempty" ex:"100MB"`
	// Whatever is drawn above this is this. 0 is no bound.
	AtMost Amount `yaml:"atMost,omitempty" ex:"20TB"`
}

// Part is one of the laws of a mixture.
type Part struct {
	// How likely it is, in proportion to the weights of the others.
	Weight Amount `yaml:"weight" need:"yes" ex:"29%"`
	// The law.
	Of Law `yaml:"of" need:"yes"`
}
