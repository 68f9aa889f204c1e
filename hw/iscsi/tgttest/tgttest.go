// Package tgttest runs Debian's tgt as an iSCSI target for tests: a tape drive
// that nobody here wrote.
package tgttest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Target is the iSCSI name of the target. Its LUN 1 is a tape drive, with a
// cartridge in it.
const Target = "iqn.2001-04.com.example:tgt"

// Start runs a target until the test ends, and returns its address. megabytes is
// the size of the cartridge; user and secret are its CHAP account, "" is none.
func Start(t testing.TB, megabytes int, user, secret string) (address string) {
	t.Helper()
	tgtd, err := exec.LookPath("/usr/sbin/tgtd")
	if err != nil {
		t.Fatalf("%v: install Debian's package tgt (internal/ci/deps.sh)", err)
	}
	dir := t.TempDir()
	address = freeAddress(t)
	// The control socket is of a directory of its own, so its number need not be.
	env := append(os.Environ(), "TGT_IPC_SOCKET="+filepath.Join(socketDir(t), "s"))
	daemon := exec.Command(tgtd, "-C", "7", "-f", "--iscsi", "portal="+address)
	daemon.Env = env
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		daemon.Process.Kill() //nolint:errcheck // it may have ended by itself
		daemon.Wait()         //nolint:errcheck // it was killed
	})
	tape := filepath.Join(dir, "tape")
	run(t, env, "/usr/sbin/tgtimg", "--op", "new", "--device-type", "tape", "--barcode", "A0000001", "--size", strconv.Itoa(megabytes), "--type", "data", "--file", tape)
	admin := func(args ...string) {
		run(t, env, "/usr/sbin/tgtadm", append([]string{"-C", "7", "--lld", "iscsi"}, args...)...)
	}
	waitFor(t, address)
	admin("--mode", "target", "--op", "new", "--tid", "1", "--targetname", Target)
	admin("--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "-b", tape, "--device-type=tape")
	if user != "" {
		admin("--mode", "account", "--op", "new", "--user", user, "--password", secret)
		admin("--mode", "account", "--op", "bind", "--tid", "1", "--user", user)
	}
	admin("--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL")
	return address
}

func socketDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "tgt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func waitFor(t testing.TB, address string) {
	for range 200 {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatal("tgtd does not listen")
}

func run(t testing.TB, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("%s %v: %w: %s", name, args, err, out))
	}
}
