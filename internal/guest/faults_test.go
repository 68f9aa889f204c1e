//go:build devices

package guest_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// librarySocket is where the library of the boot takes what disturbs it.
const librarySocket = "/tmp/capstan-vtl-0/vtl1"

// inject has the virtual library fail what comes: see "capstan vtl inject".
func inject(t *testing.T, fault string) {
	t.Helper()
	sh(t, os.Getenv(envBinary)+" vtl inject --socket "+librarySocket+" "+fault)
}

func clearFaults(t *testing.T) {
	t.Helper()
	sh(t, os.Getenv(envBinary)+" vtl clear --socket "+librarySocket)
}

// TestFaults has the library answer with sense data, through the kernel's drivers.
func TestFaults(t *testing.T) {
	r := newRig(t)
	t.Run("of the tools", func(t *testing.T) { faultsOfTools(t, r) })
	d := newDomain(t, "faults")
	small := smallTree(t)
	for _, driver := range []string{"sg", "st"} {
		d.driver(t, driver)
		d.start(t)
		d.policy(t, driver, small)
		for _, f := range jobFaults {
			t.Run(driver+", "+f.name, func(t *testing.T) {
				inject(t, f.fault)
				out, err := d.try("backup", driver, "--wait")
				clearFaults(t)
				t.Log(lastLine(out))
				if !regexp.MustCompile(f.want).MatchString(out) {
					t.Errorf("want %q in: %v\n%s", f.want, err, out)
				}
				// Whatever became of it, the next one works, and comes back.
				d.run(t, "backup", driver, "--wait")
				d.restored(t, small)
			})
		}
		d.stop(t)
	}
}

// jobFaults are conditions at an operation of a backup, and what its job tells. What
// a robot says wrongly about an element is looked at and tried once more.
var jobFaults = []struct{ name, fault, want string }{
	{"medium error at a write", "3/0C/00 --op WRITE --skip 5", "ended with status 84"},
	{"a reset between two blocks", "6/29/00 --op WRITE --skip 5", "ended with status 84"},
	{"a write-protected medium", "7/27/00 --op WRITE", "ended with status 84"},
	{"hardware error at a filemark", "4/44/00 --op 'WRITE FILEMARKS' --skip 1", "ended with status 84"},
	{"becoming ready", "2/04/01 --op 'TEST UNIT READY' --times 3", "completed +0 "},
	{"an error of the unload", "4/53/00 --op UNLOAD", "ended with status 87"},
	{"no medium at the rewind", "2/3A/00 --op REWIND", "ended with status 52"},
	{"the robot's destination is full", "5/3B/0D --op 'MOVE MEDIUM'", "completed +0 "},
	{"the robot's source is empty", "5/3B/0E --op 'MOVE MEDIUM'", "completed +0 "},
	{"removal prevented", "5/53/02 --op 'MOVE MEDIUM' --skip 1", "ended with status 98"},
}

// faultsOfTools are conditions as dd, mt and mtx tell them.
func faultsOfTools(t *testing.T, r *rig) {
	st := r.Drives[0].ST
	sh(t, "mtx -f "+r.Changer+" load 6 0; mt -f "+st+" rewind; mt -f "+st+" setblk 0; head -c 1000000 /bin/bash >/tmp/w; dd if=/tmp/w of="+st+" bs=10000 status=none")
	for _, f := range []struct{ fault, command, want string }{
		{"3/11/00 --op READ --skip 3", "dd if=" + st + " of=/dev/null bs=10000", "(?s)Input/output error.*3\\+0 records in"},
		{"3/0C/00 --op WRITE --skip 3", "dd if=/tmp/w of=" + st + " bs=10000", "(?s)Input/output error.*3\\+0 records out"},
		{"7/27/00 --op WRITE", "dd if=/tmp/w of=" + st + " bs=10000", "(?s)error writing.*0\\+0 records out"},
		{"4/44/00 --op REWIND", "mt -f " + st + " rewind", "Input/output error"},
		{"4/44/00 --op 'WRITE FILEMARKS'", "mt -f " + st + " weof", "Input/output error"},
		{"4/15/01 --op LOCATE", "mt -f " + st + " seek 3", "Input/output error"},
		{"5/3B/0D --op 'MOVE MEDIUM'", "mtx -f " + r.Changer + " transfer 2 8", "is Already Full"},
		{"5/53/02 --op 'MOVE MEDIUM'", "mtx -f " + r.Changer + " transfer 2 8", "Illegal Request(?s).*53(?s).*02"},
	} {
		sh(t, "mt -f "+st+" rewind")
		inject(t, f.fault)
		out := shFails(t, f.command)
		clearFaults(t)
		if !regexp.MustCompile(f.want).MatchString(out) {
			t.Errorf("%s: %s: want %q in\n%s", f.fault, f.command, f.want, out)
		}
	}
	// The tape is as good as before.
	sh(t, "mt -f "+st+" rewind && dd if=/tmp/w of="+st+" bs=10000 status=none && mt -f "+st+" rewind && dd if="+st+" of=/tmp/back bs=10000 status=none && cmp /tmp/w /tmp/back")
	sh(t, "mt -f "+st+" offline && mtx -f "+r.Changer+" unload 6 0")
	for _, c := range []string{"transfer 7 8", "transfer 1 2"} { // empty, and full
		if out := shFails(t, "mtx -f "+r.Changer+" "+c); !strings.Contains(out, "Illegal Request") && !strings.Contains(out, "mpty") && !strings.Contains(out, "ull") {
			t.Errorf("mtx %s: %s", c, out)
		}
	}
}
