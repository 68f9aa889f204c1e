package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Config says what to boot.
type Config struct {
	// Kernel is the directory of the kernel and its modules: internal/ci/deps-devices.sh
	// makes it.
	Kernel string
	// Dir is a directory of the host that the guest can write to, at [Work].
	Dir string
	// Programs is a directory of the host that the guest sees at [Programs]: what lies
	// below /tmp is hidden in it.
	Programs string
	// Env are further variables of the guest's programs.
	Env map[string]string
	// Args are the arguments of the test binary in the guest.
	Args []string
	// Timeout is how long the guest may take in all.
	Timeout time.Duration
	// Console gets what the guest prints.
	Console io.Writer
}

// Work is where a guest sees [Config].Dir.
const Work = "/mnt"

// Programs is where a guest sees [Config].Programs.
const Programs = "/srv"

// The names by which init knows what to do, and how the host learns how it went.
const (
	envInit    = "CAPSTAN_GUEST_INIT"
	envDir     = "CAPSTAN_GUEST_DIR"
	envModules = "CAPSTAN_GUEST_MODULES"

	envPrograms = "CAPSTAN_GUEST_PROGRAMS"
	argsFile    = "guest.args"
	resultFile  = "guest.result"
)

// memory is what the guest has.
const (
	memory      = "1536M"
	memoryBytes = 1536 << 20
)

// ErrFailed says that the guest ran to its end and its tests failed.
var ErrFailed = errors.New("tests failed in the guest")

// Boot boots a guest, runs the test binary in it and returns when it is off. One
// that hangs is killed; its console says how far it came.
func Boot(ctx context.Context, c Config) error {
	path, err := filepath.EvalSymlinks(filepath.Join(c.Kernel, "linux.uml"))
	if err != nil {
		return fmt.Errorf("the guest's kernel: %w: run internal/ci/deps-devices.sh", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	result := filepath.Join(c.Dir, resultFile)
	if err := errors.Join(os.RemoveAll(result), os.WriteFile(filepath.Join(c.Dir, argsFile), []byte(strings.Join(c.Args, "\n")), 0o600)); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(memoryDir(), "uml") // the guest's memory and its control socket
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	core, err := oneCore()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "taskset", "-c", strconv.Itoa(core), path,
		"mem="+memory, "root=/dev/root", "rootfstype=hostfs", "hostfs=/", "ro", "panic=-1", "quiet", "loglevel=3",
		"con=null", "con0=null,fd:1", "umid=capstan-"+filepath.Base(tmp), "uml_dir="+tmp+"/", "init="+self, envInit+"=1", envDir+"="+c.Dir, envPrograms+"="+c.Programs, envModules+"="+filepath.Join(c.Kernel, "root/usr/lib/uml/modules"))
	for k, v := range c.Env {
		cmd.Args = append(cmd.Args, k+"="+v)
	}
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.Stdout, cmd.Stderr = c.Console, c.Console
	// Its processes are the kernel's, and end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	said, rerr := os.ReadFile(result)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the guest was not done after %v and was ended", c.Timeout)
	case rerr != nil:
		return fmt.Errorf("the guest ended without a result: %w", errors.Join(err, rerr))
	case string(said) != "ok":
		return fmt.Errorf("%w: %s", ErrFailed, said)
	}
	return nil
}

// memoryDir is where the guest's memory is kept, a file: in memory if there is room.
func memoryDir() string {
	const dir = "/dev/shm"
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || int64(fs.Bavail)*fs.Bsize < memoryBytes {
		return os.TempDir()
	}
	return dir
}

// oneCore is the core that the guest runs on: its processes are traced, and a trace
// across cores is ten times as slow.
func oneCore() (int, error) {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return 0, fmt.Errorf("the cores that may be used: %w", err)
	}
	last := 0
	for n := range len(may) * 64 {
		if may.IsSet(n) {
			last = n
		}
	}
	return last, nil
}
