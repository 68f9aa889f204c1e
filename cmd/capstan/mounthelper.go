package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mountHelper is how mount(8) calls this program for a file system of type capstan, by a
// link /sbin/mount.capstan: SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE].
const mountHelper = "mount.capstan"

// asMountHelper mounts in the background, and returns the exit status when the file
// system is there.
func asMountHelper(args []string) int {
	if err := mountInBackground(args); err != nil {
		fmt.Fprintln(os.Stderr, mountHelper+":", err)
		return 32 // mount(8): mount failure
	}
	return 0
}

// helperPatience is how long the file system may take to come: the master may be asked
// for very many images.
const helperPatience = 2 * time.Minute

// helperLog is where the mount says what it has to say.
const helperLog = "/var/log/capstan-mount.log"

func mountInBackground(args []string) error {
	if len(args) < 2 {
		return errors.New("mount(8) calls it with a name and a directory: capstan /mnt/backups -o OPTIONS")
	}
	dir, options := args[1], ""
	for i, a := range args {
		if a == "-o" && i+1 < len(args) {
			options = args[i+1]
		}
	}
	before, err := device(dir)
	if err != nil {
		return err
	}
	c := exec.Command("/proc/self/exe", "mount", dir, "-o", options)
	c.Args[0] = "capstan"
	// What it says later is for a log: mount(8)'s own output ends with mount(8).
	log, err := os.OpenFile(helperLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	c.Stderr = log
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for deadline := time.Now().Add(helperPatience); time.Now().Before(deadline); {
		select {
		case err := <-ended:
			return errors.Join(errors.New("it did not stay; "+helperLog+" says why"), err)
		case <-time.After(50 * time.Millisecond):
		}
		if now, err := device(dir); err == nil && now != before {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("%s is not mounted after %v", dir, helperPatience), c.Process.Kill())
}

// device is the file system that a directory is of.
func device(dir string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	return st.Dev, nil
}

// calledAsMountHelper tells whether this process is one.
func calledAsMountHelper() bool { return filepath.Base(os.Args[0]) == mountHelper }
