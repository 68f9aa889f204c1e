package scenarios

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a policy's zone is known on every host
)

// The forms of text that the tag "is" names. Each says what is wrong with s.
var forms = map[string]func(s string) error{
	"name":     matches(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`, "a name of letters, digits, _, . and -, at most 63"),
	"pattern":  matches(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}(%0?[1-9]?d[A-Za-z0-9_.-]{0,20})?$`, "a name, or a pattern of names such as web%02d"),
	"prefix":   matches(`^[A-Z0-9]{1,4}$`, "one to four capital letters and digits"),
	"hostport": isHostPort,
	"abspath": func(s string) error {
		if !strings.HasPrefix(s, "/") || strings.Contains(s, "\x00") {
			return fmt.Errorf("%q is no absolute path; expected one that begins with /", s)
		}
		return nil
	},
	"glob": func(s string) error {
		if _, err := path.Match(s, ""); err != nil {
			return fmt.Errorf("%q is no pattern; expected one with *, ? and [a-z]", s)
		}
		return nil
	},
	"timezone": func(s string) error {
		if _, err := time.LoadLocation(s); err != nil || s == "Local" || s == "" {
			return fmt.Errorf("%q is no time zone; expected an IANA name such as Europe/Berlin or UTC", s)
		}
		return nil
	},
}

func matches(pattern, what string) func(string) error {
	re := regexp.MustCompile(pattern)
	return func(s string) error {
		if !re.MatchString(s) {
			return fmt.Errorf("%q is wrong; expected %s", s, what)
		}
		return nil
	}
}

func isHostPort(s string) error {
	if _, err := netip.ParseAddrPort(s); err != nil {
		return fmt.Errorf("%q is no address; expected ip:port such as 192.0.2.10:1556 or [2001:db8::1]:1556", s)
	}
	return nil
}

// check looks at what a single field cannot tell: references and combinations.
func (r *reader) check(v any) {
	switch v := v.(type) {
	case *Host:
		r.host(v)
	case *Policy:
		r.policy(v, "")
	case *Library:
		r.library(v, "")
	case *Scenario:
		r.scenario(v)
	case *Sweep:
		r.sweep(v)
	}
}

func (r *reader) host(h *Host) {
	master := slices.Contains(h.Kinds, "master")
	if !master && h.Master.Name == "" && len(h.Kinds) > 0 {
		r.say("master", "missing; expected the name and address of the domain's master")
	}
	if h.Master.Name != "" && h.Master.Address == "" && h.Hosts[h.Master.Name] == "" && h.Master.Name != h.Name {
		r.say("master.address", "missing; expected ip:port of the master %s, here or under hosts", h.Master.Name)
	}
	if !slices.Contains(h.Kinds, "media") {
		r.onlyFor("media", "libraries", len(h.Libraries))
		r.onlyFor("media", "devices", len(h.Devices))
	}
	if !master {
		r.onlyFor("master", "storageUnits", len(h.StorageUnits))
		r.onlyFor("master", "groups", len(h.Groups))
		r.onlyFor("master", "pools", len(h.Pools))
	}
	r.libraries(h.Libraries)
	for i := range h.Libraries {
		if host := h.Libraries[i].Host; host != "" && host != h.Name {
			r.say(fmt.Sprintf("libraries[%d].host", i), "%q is another host; expected %s, or nothing", host, h.Name)
		}
		for j, d := range h.Libraries[i].Drives {
			if d.Host != "" && d.Host != h.Name {
				r.say(fmt.Sprintf("libraries[%d].drives[%d].host", i, j), "%q is another host; a virtual library serves its own host, except in a scenario", d.Host)
			}
		}
	}
	r.devices(h.Name, h.Devices, h.Libraries)
	r.storage(h.StorageUnits, h.Groups, h.Pools)
}

// devices checks that each can be found, and that each drive stands in a library.
func (r *reader) devices(host string, all []Device, virtual []Library) {
	unique(r, "devices", all, func(d Device) string { return d.Name })
	var changers []string
	serials := map[string]string{}
	for i := range all {
		d := &all[i]
		at := fmt.Sprintf("devices[%d]", i)
		if d.Kind == "changer" {
			changers = append(changers, d.Name)
		}
		switch elsewhere := d.Kind == "changer" && d.Control != "" && d.Control != host; {
		case elsewhere && (d.Serial != "" || d.Path != ""):
			r.say(at+".control", "%q is another host; expected no serial and no path then, which that one's file has", d.Control)
		case d.Serial == "" && d.Path == "" && !elsewhere:
			r.say(at+".serial", "missing; expected the serial number, or the path of a device that tells none: see \"capstan devices\"")
		}
		if other := serials[d.Serial]; other != "" && d.Serial != "" {
			r.say(at+".serial", "%q is that of %s already; expected another one", d.Serial, other)
		}
		serials[d.Serial] = d.Name
		for _, l := range virtual {
			if l.Name == d.Name || slices.ContainsFunc(l.Drives, func(v Drive) bool { return v.Name == d.Name }) {
				r.say(at+".name", "%q is the name of a virtual device too; expected another one", d.Name)
			}
		}
	}
	for i := range all {
		r.device(&all[i], fmt.Sprintf("devices[%d]", i), changers)
	}
}

func (r *reader) device(d *Device, at string, changers []string) {
	if d.Kind == "drive" {
		if d.Library == "" {
			r.say(at+".library", "missing; expected the name of the changer that serves the drive: a drive without a robot is not used")
		}
		r.refersTo(at+".library", "changer", d.Library, changers)
		if d.Element == 0 && d.Serial == "" {
			r.say(at+".element", "missing; expected the drive's address for the robot, as it has no serial number to be matched by")
		}
		if len(d.Quirks) > 0 {
			r.say(at+".quirks", "not for a drive; expected only for a changer")
		}
		if d.Control != "" {
			r.say(at+".control", "not for a drive; expected only for a changer")
		}
		if stays, _ := d.Dismount.Stays(); stays {
			r.say(at+".dismount", "not for a drive; expected only for a changer")
		}
		return
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"library", d.Library != ""}, {"element", d.Element != 0}, {"keyFile", d.KeyFile != ""}, {"driver", d.Driver == "st"}} {
		if f.set && d.Kind == "changer" {
			r.say(join(at, f.name), "not for a changer; expected only for a drive")
		}
	}
}

func (r *reader) onlyFor(kind, field string, n int) {
	if n > 0 {
		r.say(field, "not for this host; expected only where kinds holds %s", kind)
	}
}

func (r *reader) libraries(all []Library) {
	unique(r, "libraries", all, func(l Library) string { return l.Name })
	for i := range all {
		r.library(&all[i], fmt.Sprintf("libraries[%d]", i))
	}
}

func (r *reader) library(l *Library, at string) {
	for i, d := range l.Drives {
		if d.Count > 1 && !strings.Contains(d.Name, "%") {
			r.say(fmt.Sprintf("%s[%d].name", join(at, "drives"), i), "%q is wrong for a count of %d; expected a pattern such as drive%%02d", d.Name, d.Count)
			return
		}
	}
	l.Drives = eachDrive(l.Drives)
	unique(r, join(at, "drives"), l.Drives, func(d Drive) string { return d.Name })
	count := join(at, "cartridges.count")
	if all := l.Cartridges.Count + l.Cartridges.Cleaning; l.Slots > 0 && all > l.Slots {
		r.say(count, "%d cartridges do not fit; expected at most %d, the slots", all, l.Slots)
	}
	if c := l.Cartridges.Compression; c > 0 && c < 1 {
		r.say(join(at, "cartridges.compression"), "%v to 1 is no compression; expected 1 or more, or 0 for none", c)
	}
	if l.Slots > 0 && l.Robot.Strings > l.Slots {
		r.say(join(at, "robot.strings"), "%d strings of %d slots; expected at least a slot in each", l.Robot.Strings, l.Slots)
	}
	if digits := volumeID - len(l.Cartridges.Prefix); digits >= 2 && float64(l.Cartridges.Count) >= math.Pow10(digits) {
		r.say(count, "%d cartridges cannot all have numbers of %d digits; expected a shorter prefix", l.Cartridges.Count, digits)
	}
}

func (r *reader) storage(units []StorageUnit, groups []Group, pools []Pool) {
	unique(r, "storageUnits", units, func(u StorageUnit) string { return u.Name })
	unique(r, "groups", groups, func(g Group) string { return g.Name })
	unique(r, "pools", pools, func(p Pool) string { return p.Name })
	names := namesOf(units, func(u StorageUnit) string { return u.Name })
	for i := range units {
		at := fmt.Sprintf("storageUnits[%d]", i)
		r.storageUnit(&units[i], at)
		r.refersTo(at+".pool", "pool", units[i].Pool, poolNames(pools))
	}
	for i, g := range groups {
		at := fmt.Sprintf("groups[%d]", i)
		if slices.Contains(names, g.Name) {
			r.say(at+".name", "%q is the name of a storage unit too; expected another one", g.Name)
		}
		for j, u := range g.Units {
			r.refersTo(fmt.Sprintf("%s.units[%d]", at, j), "storage unit", u, names)
		}
	}
}

func (r *reader) storageUnit(u *StorageUnit, at string) {
	for _, f := range []struct {
		kind, field string
		set, need   bool
	}{
		{"disk", "path", u.Path != "", true},
		{"tape", "library", u.Library != "", true},
		{"tape", "density", u.Density != "", true},
		{"tape", "pool", u.Pool != "", false},
		{"tape", "maxDrives", u.MaxDrives != 0, false},
	} {
		switch {
		case u.Kind == f.kind && f.need && !f.set:
			r.say(join(at, f.field), "missing; expected for a storage unit of kind %s", f.kind)
		case u.Kind != f.kind && f.set && (u.Kind == "tape" || u.Kind == "disk"):
			r.say(join(at, f.field), "not for kind %s; expected only for %s", u.Kind, f.kind)
		}
	}
}

func (r *reader) policy(p *Policy, at string) {
	unique(r, join(at, "schedules"), p.Schedules, func(s Schedule) string { return s.Name })
	full := len(p.Schedules) == 0
	for _, s := range p.Schedules {
		full = full || s.Type != "differential"
	}
	if !full {
		r.say(join(at, "schedules"), "only differential schedules; expected a full one too, that they differ from")
	}
}

func (r *reader) scenario(s *Scenario) {
	clients := r.hosts(s)
	media := namesOf(s.MediaServers, func(m Server) string { return m.Name })
	r.libraries(s.Libraries)
	for i, l := range s.Libraries {
		at := fmt.Sprintf("libraries[%d].host", i)
		if l.Host == "" && len(media) > 1 {
			r.say(at, "missing; expected the media server that the robot is attached to")
		}
		r.refersTo(at, "media server", l.Host, media)
		for j, d := range l.Drives {
			r.refersTo(fmt.Sprintf("libraries[%d].drives[%d].host", i, j), "media server", d.Host, media)
		}
	}
	r.storage(s.StorageUnits, s.Groups, s.Pools)
	libraries := namesOf(s.Libraries, func(l Library) string { return l.Name })
	for i, u := range s.StorageUnits {
		at := fmt.Sprintf("storageUnits[%d]", i)
		r.refersTo(at+".mediaServer", "media server", u.MediaServer, media)
		r.refersTo(at+".library", "library", u.Library, libraries)
		r.hasDrive(s, &u, at)
	}
	r.policies(s, clients)
	r.workload(s, clients)
	if s.WarmUp >= s.Length && s.WarmUp > 0 {
		r.say("warmUp", "%v leaves nothing of the length, %v; expected less", s.WarmUp, s.Length)
	}
	for i, q := range s.Restores {
		at := fmt.Sprintf("restores[%d]", i)
		r.refersTo(at+".client", "client", q.Client, clients)
		r.refersTo(at+".toClient", "client", q.ToClient, clients)
		r.within(at+".at", q.At, s)
	}
	for i, f := range s.Faults {
		host, role, _ := strings.Cut(f.Target, "/")
		at := fmt.Sprintf("faults[%d]", i)
		r.refersTo(at+".target", "host", host, slices.Concat([]string{s.Master.Name}, media, clients))
		if (f.Do == "kill") != (role != "") && f.Do != "" {
			r.say(at+".target", "%q is wrong for %s; expected host/role for kill, a host for all others", f.Target, f.Do)
		}
		r.within(at+".at", f.At, s)
	}
	r.expectations(s, clients)
}

// hasDrive checks that a tape unit's media server has a drive of its library.
func (r *reader) hasDrive(s *Scenario, u *StorageUnit, at string) {
	i := slices.IndexFunc(s.Libraries, func(l Library) bool { return l.Name == u.Library })
	if i < 0 || len(s.MediaServers) < 2 || u.MediaServer == "" {
		return
	}
	l := &s.Libraries[i]
	if !slices.ContainsFunc(l.Drives, func(d Drive) bool { return cmp.Or(d.Host, l.Host) == u.MediaServer }) {
		r.say(at+".mediaServer", "%s has no drive of library %s; expected the library's host, or the host of one of its drives", u.MediaServer, l.Name)
	}
}

// hosts checks that all hosts have names of their own, and gives the clients'.
func (r *reader) hosts(s *Scenario) []string {
	for i, c := range s.Clients {
		if (c.Count > 1) != strings.Contains(c.Name, "%") {
			r.say(fmt.Sprintf("clients[%d].name", i), "%q is wrong for a count of %d; expected a pattern such as web%%02d if there are several, else a name", c.Name, c.Count)
			return nil
		}
		if c.Count < 0 || c.Count > 100_000 {
			return nil // said already, where it was read
		}
	}
	taken := map[string]string{s.Master.Name: "master"}
	var clients []string
	for i, m := range s.MediaServers {
		r.taken(taken, m.Name, fmt.Sprintf("mediaServers[%d].name", i))
	}
	for i := range s.Clients {
		one := Scenario{Clients: s.Clients[i : i+1]}
		for _, c := range one.EachClient() {
			r.taken(taken, c.Name, fmt.Sprintf("clients[%d].name", i))
			clients = append(clients, c.Name)
		}
	}
	return clients
}

func (r *reader) taken(by map[string]string, name, field string) {
	if other, twice := by[name]; twice && name != "" {
		r.say(field, "%q is the name of %s already; expected another one", name, other)
		return
	}
	by[name] = field
}

func (r *reader) policies(s *Scenario, clients []string) {
	unique(r, "policies", s.Policies, func(p Policy) string { return p.Name })
	storage := slices.Concat(namesOf(s.StorageUnits, func(u StorageUnit) string { return u.Name }),
		namesOf(s.Groups, func(g Group) string { return g.Name }))
	for i := range s.Policies {
		p := &s.Policies[i]
		at := fmt.Sprintf("policies[%d]", i)
		r.policy(p, at)
		r.refersTo(at+".storage", "storage unit or group", p.Storage, storage)
		r.refersTo(at+".pool", "pool", p.Pool, poolNames(s.Pools))
		r.patterns(at, p.Clients, clients)
	}
}

// within checks that something happens before the scenario ends.
func (r *reader) within(field string, at Duration, s *Scenario) {
	if at > s.Length && s.Length > 0 {
		r.say(field, "%v is after the end; expected at most the length, %v", at, s.Length)
	}
}

// refersTo checks that a name, if there is one, is among those that exist.
func (r *reader) refersTo(field, what, name string, exist []string) {
	if name == "" || slices.Contains(exist, name) {
		return
	}
	const most = 8
	list := strings.Join(exist[:min(len(exist), most)], ", ")
	switch {
	case len(exist) == 0:
		list = "one to be defined, there is none"
	case len(exist) > most:
		list = fmt.Sprintf("one of %s and %d more", list, len(exist)-most)
	default:
		list = "one of " + list
	}
	r.say(field, "there is no %s %q; expected %s", what, name, list)
}

// unique checks that the names of a list differ.
func unique[T any](r *reader, field string, list []T, name func(T) string) {
	seen := map[string]bool{}
	for i, item := range list {
		n := name(item)
		if seen[n] && n != "" {
			r.say(fmt.Sprintf("%s[%d].name", field, i), "%q is there already; expected another name", n)
		}
		seen[n] = true
	}
}

func namesOf[T any](list []T, name func(T) string) []string {
	names := make([]string, len(list))
	for i, item := range list {
		names[i] = name(item)
	}
	return names
}

func poolNames(pools []Pool) []string {
	return append(namesOf(pools, func(p Pool) string { return p.Name }), DefaultPool)
}
