package real_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"capstan/core/bprd"
	"capstan/core/flow"
	"capstan/core/status"
	"capstan/internal/real/loopback"
)

// envNet is set in the test that runs inside: the beginning of the namespaces' names.
const envNet = "CAPSTAN_TEST_NETWORK"

// The hosts' namespaces and addresses. The test itself is in one more, as an
// operator's machine would be.
var netHosts = map[string]string{
	loopback.Master: "10.78.0.1", loopback.Media: "10.78.0.2", loopback.Client: "10.78.0.3", "operator": "10.78.0.4",
}

const (
	netPort = "1556"

	// firewall lets one port in, whoever listens elsewhere.
	firewall = `table inet f { chain input {
		type filter hook input priority 0; policy drop;
		iif lo accept; ct state established,related accept
		tcp dport ` + netPort + ` accept
	}; }`
)

// A backup and a restore across three network namespaces, whose firewalls let in
// the one port alone.
func TestNamespaces(t *testing.T) {
	if prefix := os.Getenv(envNet); prefix != "" {
		acrossNamespaces(t, prefix)
		return
	}
	if testing.Short() {
		t.Skip("a whole domain of processes: run without -short")
	}
	if why := cannotNamespace(); why != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	prefix := fmt.Sprintf("cap%d-", os.Getpid())
	buildNetwork(t, prefix)
	self, err := os.Executable()
	ok(t, err)
	c := exec.CommandContext(t.Context(), "ip", "netns", "exec", prefix+"operator", self, "-test.run=^TestNamespaces$", "-test.v")
	c.Env = append(os.Environ(), envNet+"="+prefix)
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestNamespaces") {
		t.Errorf("the test inside: %v\n%s", err, out)
	}
}

func cannotNamespace() string {
	if os.Geteuid() != 0 {
		return "network namespaces need root"
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "network namespaces need the program " + tool + " (Debian: iproute2, nftables)"
		}
	}
	return ""
}

func run(t *testing.T, command string) {
	t.Helper()
	args := strings.Fields(command)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// buildNetwork makes a namespace for each host, and one with the switch between them.
func buildNetwork(t *testing.T, prefix string) {
	t.Helper()
	namespace := func(name string) {
		run(t, "ip netns add "+name)
		t.Cleanup(func() { run(t, "ip netns del "+name) })
		run(t, "ip -n "+name+" link set lo up")
	}
	sw := prefix + "switch"
	namespace(sw)
	run(t, "ip -n "+sw+" link add br0 type bridge")
	run(t, "ip -n "+sw+" link set br0 up")
	for host, addr := range netHosts {
		ns := prefix + host
		namespace(ns)
		run(t, "ip -n "+ns+" link add eth0 type veth peer name "+host+" netns "+sw)
		run(t, "ip -n "+sw+" link set "+host+" master br0 up")
		run(t, "ip -n "+ns+" addr add "+addr+"/24 dev eth0")
		run(t, "ip -n "+ns+" link set eth0 up")
		c := exec.Command("ip", "netns", "exec", ns, "nft", "-f", "-")
		c.Stdin = strings.NewReader(firewall)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("nft in %s: %v: %s", ns, err, out)
		}
	}
}

// acrossNamespaces runs in the operator's namespace.
func acrossNamespaces(t *testing.T, prefix string) {
	self, err := os.Executable()
	ok(t, err)
	addrs := map[string]string{}
	for host, addr := range netHosts {
		addrs[host] = net.JoinHostPort(addr, netPort)
	}
	f := newDomain(t, loopback.Options{
		Addresses: addrs,
		Command: func(kind, config string) *exec.Cmd {
			host := filepath.Base(filepath.Dir(config))
			args := append([]string{"netns", "exec", prefix + host, self}, loopback.Self(kind, config).Args[1:]...)
			return exec.Command("ip", args...)
		},
	})
	write(t, filepath.Join(f.source, "e"), 10<<20, 11)
	for _, host := range []string{loopback.Master, loopback.Media, loopback.Client} {
		if inside(t, f.Pid(host)) == inside(t, os.Getpid()) {
			t.Errorf("the daemon of %s is in the operator's network", host)
		}
	}
	for _, storage := range []string{"tape", "disk"} {
		b := f.backUpAs(t, policyName, storage, status.OK)
		f.inOrder(t, b.ID, flow.Kind{Tape: storage == "tape"})
		to := t.TempDir()
		r := f.restore(t, bprd.Request{Image: b.BackupID, StripTo: filepath.Dir(f.source), Target: to}, status.OK)
		f.inOrder(t, r.ID, flow.Kind{Restore: true, Tape: storage == "tape"})
		mustBeSame(t, f.source, filepath.Join(to, filepath.Base(f.source)))
	}
}

// inside names the network namespace of a process.
func inside(t *testing.T, pid int) string {
	t.Helper()
	ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	ok(t, err)
	return ns
}
