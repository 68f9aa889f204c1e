package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Inside tells whether this process is the init of a guest.
func Inside() bool { return os.Getpid() == 1 && os.Getenv(envInit) != "" }

// Init sets the guest up, runs this program again with the arguments that the host
// gave, says how it ended, and switches the guest off.
func Init() {
	err := setUp()
	if err == nil {
		err = runTests()
	}
	said := "ok"
	if err != nil {
		said = err.Error()
		fmt.Println("guest:", err)
	}
	err = os.WriteFile(filepath.Join(Work, resultFile), []byte(said), 0o600)
	if err != nil {
		fmt.Println("guest: the result:", err)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		panic(err)
	}
}

func runTests() error {
	args, err := os.ReadFile(filepath.Join(Work, argsFile))
	if err != nil {
		return err
	}
	c := exec.Command("/proc/self/exe", strings.Split(string(args), "\n")...)
	c.Stdout, c.Stderr = os.Stdout, os.Stdout
	c.Env = append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "TMPDIR=/tmp")
	return c.Run()
}

// setUp makes the guest's file systems, loads the drivers and brings loopback up.
func setUp() error {
	// First, as the modules may lie below a directory of the host that is hidden next.
	if err := loadModules(); err != nil {
		return err
	}
	for _, m := range []struct{ kind, at, data string }{
		{"proc", "/proc", ""}, {"sysfs", "/sys", ""}, {"devtmpfs", "/dev", ""},
		{"tmpfs", "/run", ""}, {"tmpfs", "/tmp", ""}, {"tmpfs", "/var/lib", ""}, {"hostfs", Work, os.Getenv(envDir)},
		{"hostfs", Programs, os.Getenv(envPrograms)},
	} {
		if err := unix.Mount("none", m.at, m.kind, 0, m.data); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mounting %s at %s: %w", m.kind, m.at, err)
		}
	}
	if err := os.MkdirAll("/dev/shm", 0o1777); err != nil {
		return err
	}
	if err := unix.Mount("none", "/dev/shm", "tmpfs", 0, ""); err != nil {
		return err
	}
	return loopbackUp()
}

// modules are the drivers, each after those that it needs.
const modules = "scsi_common scsi_mod st sg ch scsi_transport_iscsi libiscsi libiscsi_tcp iscsi_tcp"

func loadModules() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	where := map[string]string{}
	err := filepath.WalkDir(os.Getenv(envModules)+"/"+unix.ByteSliceToString(u.Release[:])+"/kernel/drivers/scsi",
		func(path string, _ fs.DirEntry, err error) error {
			where[strings.TrimSuffix(filepath.Base(path), ".ko")] = path
			return err
		})
	if err != nil {
		return fmt.Errorf("looking for the kernel's modules: %w", err)
	}
	for _, name := range strings.Fields(modules) {
		f, err := os.Open(where[name])
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("loading module %s: %w", name, err)
		}
	}
	return nil
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	i, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	i.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, i); err != nil {
		return fmt.Errorf("bringing the loopback interface up: %w", err)
	}
	return nil
}
