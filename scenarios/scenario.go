package scenarios

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Scenario is a domain of hosts in the virtual world, what they do and for how
// long, what goes wrong meanwhile, and what shall have come out at the end.
type Scenario struct {
	// The name, which reports show.
	Name string `yaml:"name" need:"yes" is:"name" ex:"first-night"`
	// When the virtual world begins.
	Start time.Time `yaml:"start" need:"yes" ex:"2026-11-23T18:00:00Z"`
	// How long it runs.
	Length Duration `yaml:"length" need:"yes" min:"1s" ex:"15h"`
	// How long from the start what happens says nothing of the usual life, as when libraries fill and the first full backups run: no figure counts it.
	WarmUp Duration `yaml:"warmUp,omitempty" ex:"14d"`
	// How many times it is run for intervals of confidence, with the seed and the ones after it.
	Replications int `yaml:"replications" def:"1" min:"1" max:"10000"`
	// The zone in which reports show times, by its IANA name.
	Timezone string `yaml:"timezone" def:"UTC" is:"timezone"`
	// The seed of every random number, unless the command line gives one.
	Seed int64 `yaml:"seed" def:"1"`
	// The master.
	Master Server `yaml:"master" need:"yes"`
	// The media servers.
	MediaServers []Server `yaml:"mediaServers" need:"yes"`
	// The clients.
	Clients []Client `yaml:"clients" need:"yes"`
	// The tape libraries.
	Libraries []Library `yaml:"libraries,omitempty"`
	// Places to back up to.
	StorageUnits []StorageUnit `yaml:"storageUnits" need:"yes"`
	// Groups of storage units.
	Groups []Group `yaml:"groups,omitempty"`
	// Volume pools; the pool Default exists always.
	Pools []Pool `yaml:"pools,omitempty"`
	// The policies.
	Policies []Policy `yaml:"policies,omitempty"`
	// What clients hold, and what becomes of it, by laws of chance; or jobs that are played back.
	Workload Workload `yaml:"workload,omitempty"`
	// Restores that are asked for.
	Restores []Restore `yaml:"restores,omitempty"`
	// What goes wrong.
	Faults []Fault `yaml:"faults,omitempty"`
	// What shall have come out at the end.
	Expect []Expect `yaml:"expect,omitempty"`
}

// Server is a master or a media server of the virtual world.
type Server struct {
	// The name.
	Name string `yaml:"name" need:"yes" is:"name" ex:"media1"`
	// The rate of its network link, each way; data gets 97 % of it.
	Link Rate `yaml:"link" def:"10Gbps" min:"1kBps"`
	// The rate of its disks, which disk storage units are on.
	Disk Rate `yaml:"disk" def:"1GBps" min:"1kBps"`
	// The space on its disks.
	DiskSize Size `yaml:"diskSize" def:"100TB" min:"1MB"`
}

// Client is a client of the virtual world, or a number of equal ones.
type Client struct {
	// The name. With count: a pattern with one number, such as "web%02d", counted from 1.
	Name string `yaml:"name" need:"yes" is:"pattern" ex:"web1"`
	// How many such clients there are.
	Count int `yaml:"count" def:"1" min:"1" max:"100000"`
	// The rate of its network link, each way; data gets 97 % of it.
	Link Rate `yaml:"link" def:"1Gbps" min:"1kBps"`
	// The rate of data that one connection carries at most, each way: of TCP, the window over the round-trip time. A job has one connection; several share the link. Default: all of the link.
	PerConnection Rate `yaml:"perConnection,omitempty" min:"1kBps" ex:"80MBps"`
	// The rate at which its disks read and write.
	Disk Rate `yaml:"disk" def:"200MBps" min:"1kBps"`
	// What is on its disks. Default: as the workload says.
	Data *Data `yaml:"data,omitempty"`
}

// Data is the files of a client. They have no contents, only sizes.
type Data struct {
	// How many files.
	Files int64 `yaml:"files" need:"yes" min:"1" max:"10000000000" ex:"350000"`
	// How much they hold together.
	Bytes Size `yaml:"bytes" need:"yes" ex:"180GiB"`
	// The part of the data that changes in a day, from 0 to 1: what an incremental backup copies.
	ChangeRate float64 `yaml:"changeRate" def:"0.02" max:"1"`
	// The directory that they are under.
	Root string `yaml:"root" def:"/data" is:"abspath"`
}

// Restore is a restore that somebody asks for.
type Restore struct {
	// When, after the start.
	At Duration `yaml:"at" need:"yes" ex:"12h"`
	// Whose files.
	Client string `yaml:"client" need:"yes" is:"name" ex:"web1"`
	// Which files and directories.
	Paths []string `yaml:"paths" need:"yes" is:"abspath" ex:"[/data]"`
	// The directory to restore to. Default: the original place.
	To string `yaml:"to,omitempty" is:"abspath" ex:"/restored"`
	// The client to restore to. Default: the one whose files they are.
	ToClient string `yaml:"toClient,omitempty" is:"name" ex:"web2"`
	// What happens to files that exist.
	Overwrite string `yaml:"overwrite" def:"never" oneof:"never|older|always"`
}

// Fault is something that goes wrong.
type Fault struct {
	// When, after the start.
	At Duration `yaml:"at" need:"yes" ex:"4h10m"`
	// What happens: a process is killed, a host crashes, a host is restarted, a host is cut off, or no more.
	Do string `yaml:"do" need:"yes" oneof:"kill|crash|restart|partition|heal" ex:"kill"`
	// A host; for kill, host/role: each process of that role.
	Target string `yaml:"target" need:"yes" ex:"media1/bptm"`
	// How long until it is undone (restart after crash, heal after partition). 0 is never.
	For Duration `yaml:"for,omitempty" ex:"5m"`
}

// EachClient is the clients one by one: those with a count are spelt out, each
// with its own name and a count of 1.
func (s *Scenario) EachClient() []Client {
	var all []Client
	for _, c := range s.Clients {
		n := c.Count
		for i := 1; i <= n; i++ {
			one := c
			one.Count = 1
			if strings.Contains(c.Name, "%") {
				one.Name = fmt.Sprintf(c.Name, i)
			}
			all = append(all, one)
		}
	}
	return all
}

// ClientsOf is the names of the clients that a policy backs up, its patterns
// spelt out, each name once and in the scenario's order.
func (s *Scenario) ClientsOf(p *Policy) []string {
	return Matching(p.Clients, namesOf(s.EachClient(), func(c Client) string { return c.Name }))
}

// Matching are the names that match one of some patterns, in their order.
func Matching(patterns, names []string) (all []string) {
	for _, n := range names {
		if matchesAny(patterns, n) {
			all = append(all, n)
		}
	}
	return all
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { ok, err := path.Match(p, name); return err == nil && ok })
}
