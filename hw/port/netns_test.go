package port

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/stream"
	"capstan/hw/clock"
	"capstan/hw/pki"
)

// The hosts of the test with namespaces, and their addresses.
var netHosts = []struct {
	id   pbx.Identity
	addr string
}{
	{pbx.Identity{Kinds: pbx.Master, Name: "master"}, "10.77.0.1"},
	{pbx.Identity{Kinds: pbx.Media, Name: "media"}, "10.77.0.2"},
	{pbx.Identity{Kinds: pbx.Client, Name: "client"}, "10.77.0.3"},
}

const (
	netPort    = "1556"
	closedPort = "1557" // something listens there too, behind the filter
	netData    = 20 << 20

	// Set for the processes that the test starts: what they are, and where the
	// files are.
	envRole = "CAPSTAN_TEST_ROLE"
	envDir  = "CAPSTAN_TEST_DIR"

	firewall = `table inet f { chain input {
		type filter hook input priority 0; policy drop;
		iif lo accept; ct state established,related accept
		tcp dport ` + netPort + ` accept
		meta l4proto tcp reject with tcp reset
	}; }`
)

type moved struct {
	Bytes  int64  `json:"bytes"`
	Digest uint32 `json:"digest"`
}

type transfer struct {
	Ticket string `json:"ticket"`
	Bytes  int    `json:"bytes"`
}

var (
	netReceive  = pbx.Declare[transfer, none]("bptm", "Receive", pbx.Master)
	netReceived = pbx.Declare[none, moved]("bptm", "Received", pbx.Master)
	netSend     = pbx.Declare[transfer, moved]("bpbkar", "Send", pbx.Master)
	netProgress = pbx.Declare[moved, none]("nbjm", "Progress", pbx.Client)
	netTryPort  = pbx.Declare[none, string]("bpbkar", "TryPort", pbx.Master)
)

func TestMain(m *testing.M) {
	role := os.Getenv(envRole)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := netProcess(role, os.Getenv(envDir)); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		os.Exit(1)
	}
}

// Three hosts, each a network namespace whose filter lets one port in, with a
// daemon and a job's process each, do what the hosts of a backup do.
func TestNamespaces(t *testing.T) {
	if why := cannotNamespace(); why != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	dir := t.TempDir()
	netCredentials(t, dir)
	prefix := fmt.Sprintf("capstan%d-", os.Getpid())
	netBuild(t, prefix)
	for _, h := range netHosts {
		netStart(t, prefix+h.id.Name, "daemon", h.id.Name, dir)
	}
	netStart(t, prefix+"media", "bptm", "media", dir)
	netStart(t, prefix+"client", "bpbkar", "client", dir)
	if err := netStart(t, prefix+"master", "nbjm", "master", dir).Wait(); err != nil {
		t.Errorf("nbjm, which leads the test: %v", err)
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

// netCredentials makes the domain: dir/<host>/pki for each host.
func netCredentials(t *testing.T, dir string) {
	t.Helper()
	ca, err := pki.Init(filepath.Join(dir, "master", "pki"), "example.com", "master", pbx.Master)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range netHosts[1:] {
		key, csr, err := pki.NewRequest()
		if err != nil {
			t.Fatal(err)
		}
		cert, err := ca.Issue(csr, h.id)
		if err != nil {
			t.Fatal(err)
		}
		if err := pki.Save(filepath.Join(dir, h.id.Name, "pki"), key, cert, ca.Certificate()); err != nil {
			t.Fatal(err)
		}
	}
}

func run(t *testing.T, command string) {
	t.Helper()
	args := strings.Fields(command)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// netBuild makes the namespaces: one for each host, and one with the switch
// between them.
func netBuild(t *testing.T, prefix string) {
	t.Helper()
	namespace := func(name string) {
		run(t, "ip netns add "+name)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
		run(t, "ip -n "+name+" link set lo up")
	}
	sw := prefix + "switch"
	namespace(sw)
	run(t, "ip -n "+sw+" link add br0 type bridge")
	run(t, "ip -n "+sw+" link set br0 up")
	for i, h := range netHosts {
		ns, end := prefix+h.id.Name, fmt.Sprint("port", i)
		namespace(ns)
		run(t, "ip -n "+ns+" link add eth0 type veth peer name "+end+" netns "+sw)
		run(t, "ip -n "+sw+" link set "+end+" master br0 up")
		run(t, "ip -n "+ns+" addr add "+h.addr+"/24 dev eth0")
		run(t, "ip -n "+ns+" link set eth0 up")
		cmd := exec.Command("ip", "netns", "exec", ns, "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(firewall)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("nft in %s: %v: %s", ns, err, out)
		}
	}
}

// netStart starts a process of a host. It ends with the test: by the end of its
// standard input if the test does not live to kill it.
func netStart(t *testing.T, ns, role, host, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", ns, self)
	cmd.Env = append(os.Environ(), envRole+"="+role+":"+host, envDir+"="+dir)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// netProcess is one process of a host: its daemon, or a role.
func netProcess(what, dir string) error {
	role, host, _ := strings.Cut(what, ":")
	creds, err := pki.Load(filepath.Join(dir, host, "pki"))
	if err != nil {
		return err
	}
	addrs := map[string]string{}
	for _, h := range netHosts {
		addrs[h.id.Name] = net.JoinHostPort(h.addr, netPort)
	}
	runDir := filepath.Join(dir, host, "run")
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if role == "daemon" {
		return netDaemon(ExchangeConfig{Listen: addrs[host], Run: runDir, Creds: creds, Log: log})
	}
	self := pbx.At(host, role)
	p, err := New(Config{Self: self, Creds: creds, Run: runDir, Resolve: NewHosts(addrs).Resolve, Log: log})
	if err != nil {
		return err
	}
	ctx := clock.Context(context.Background(), what)
	ctx = pbx.With(ctx, p, uint64(os.Getpid()), 0)
	mux := pbx.NewMux(ctx, role, 0)
	lead := waitForInput
	switch role {
	case "bptm":
		netBptm(ctx, mux, p)
	case "bpbkar":
		netBpbkar(mux, p)
	case "nbjm":
		lead = netNbjm(ctx, mux)
	}
	stop, err := p.Serve(ctx, role, mux)
	if err != nil {
		return err
	}
	err = lead()
	stop()
	return errors.Join(err, p.Close())
}

func waitForInput() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func netDaemon(cfg ExchangeConfig) error {
	x, err := Listen(cfg)
	if err != nil {
		return err
	}
	closed, err := net.Listen("tcp", strings.TrimSuffix(cfg.Listen, netPort)+closedPort)
	if err != nil {
		return err
	}
	return errors.Join(waitForInput(), closed.Close(), x.Close())
}

// netBptm takes what a client sends and says what it was.
func netBptm(ctx context.Context, mux *pbx.Mux, p *Port) {
	type result struct {
		moved
		err error
	}
	results := rt.NewQueue[result](ctx, 0)
	pbx.Handle(mux, netReceive, func(ctx context.Context, _ pbx.Peer, q transfer) (none, error) {
		rt.Go(ctx, "receive", func(ctx context.Context) {
			var r result
			r.moved, r.err = netTake(ctx, p, q.Ticket)
			_ = results.Put(ctx, r) // the queue is never closed
		})
		return none{}, nil
	})
	pbx.Handle(mux, netReceived, func(ctx context.Context, _ pbx.Peer, _ none) (moved, error) {
		r, err := results.Get(ctx)
		return r.moved, errors.Join(err, r.err)
	})
}

func netTake(ctx context.Context, p *Port, ticket string) (moved, error) {
	in, err := p.Accept(ctx, "bptm", ticket, "client")
	if err != nil {
		return moved{}, err
	}
	var m moved
	n, err := stream.Splice(ctx, digester{&m.Digest}, in)
	m.Bytes = n.Bytes
	return m, errors.Join(err, in.Close())
}

// digester is a sink that keeps the CRC-32C of what it gets.
type digester struct{ sum *uint32 }

func (d digester) Put(_ context.Context, f *stream.Frame) error {
	*d.sum = crc32.Update(*d.sum, stream.Castagnoli, f.Bytes)
	return nil
}

// netBpbkar sends bytes to bptm and tells nbjm.
func netBpbkar(mux *pbx.Mux, p *Port) {
	pbx.Handle(mux, netSend, func(ctx context.Context, _ pbx.Peer, q transfer) (moved, error) {
		out, err := p.Dial(ctx, "media/bptm", q.Ticket)
		if err != nil {
			return moved{}, err
		}
		data := bytes.Repeat([]byte("every byte counts"), q.Bytes/17+1)[:q.Bytes]
		m := moved{int64(len(data)), crc32.Checksum(data, stream.Castagnoli)}
		err = out.Put(ctx, &stream.Frame{Kind: stream.Data, Bytes: data, Len: m.Bytes})
		if err == nil {
			err = out.Put(ctx, &stream.Frame{Kind: stream.End, Total: m.Bytes, Digest: m.Digest})
		}
		if err := errors.Join(err, out.Close()); err != nil {
			return moved{}, err
		}
		_, err = netProgress.Call(ctx, "master/nbjm", m)
		return m, err
	})
	pbx.Handle(mux, netTryPort, func(context.Context, pbx.Peer, none) (string, error) {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(netHosts[1].addr, closedPort), time.Minute)
		if err == nil {
			return "connected", c.Close()
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return "refused", nil
		}
		return err.Error(), nil
	})
}

// netNbjm leads: its function returns when everything was done and checked.
func netNbjm(ctx context.Context, mux *pbx.Mux) (lead func() error) {
	progress := rt.NewQueue[moved](ctx, 0)
	pbx.Handle(mux, netProgress, func(ctx context.Context, _ pbx.Peer, m moved) (none, error) {
		return none{}, progress.Put(ctx, m)
	})
	return func() error {
		err := untilThere(ctx, func() error {
			got, err := netTryPort.Call(ctx, "client/bpbkar", none{})
			if err == nil && got != "refused" {
				err = fmt.Errorf("a port that the filter closes: %s", got)
			}
			return err
		})
		if err != nil {
			return err
		}
		q := transfer{Ticket: "one-time", Bytes: netData}
		err = untilThere(ctx, func() error { _, err := netReceive.Call(ctx, "media/bptm", q); return err })
		if err != nil {
			return err
		}
		sent, err := netSend.Call(ctx, "client/bpbkar", q)
		if err != nil {
			return err
		}
		received, err := netReceived.Call(ctx, "media/bptm", none{})
		if err != nil {
			return err
		}
		told, err := progress.Get(ctx)
		if err != nil {
			return err
		}
		if sent != received || sent != told || sent.Bytes != netData {
			return fmt.Errorf("sent %+v, received %+v, told %+v", sent, received, told)
		}
		return nil
	}
}

// untilThere calls what is perhaps being started still.
func untilThere(ctx context.Context, call func() error) error {
	for i := 0; ; i++ {
		err := call()
		if !errors.Is(err, pbx.ErrUnreachable) || i == 200 {
			return err
		}
		if err := rt.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}
