//go:build devices

package guest_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"capstan/internal/guest"
)

// The library of every boot: a robot, two drives, eight slots.
const (
	portal = "127.0.0.1:3260"
	target = "iqn.2026-01.example:library"
	drives = 2
	tapes  = 6
)

// rig is the library that this boot is about, with the kernel logged in to it.
type rig struct {
	guest.Devices
	ours bool
}

// theRig starts the library once.
var theRig = sync.OnceValues(func() (*rig, error) {
	r := &rig{ours: os.Getenv(envLibrary) == "capstan"}
	start := startTgt
	if r.ours {
		start = startOurs
	}
	if err := start(); err != nil {
		return nil, err
	}
	var err error
	r.Devices, _, err = guest.Login(portal, target, drives)
	return r, err
})

func newRig(t *testing.T) *rig {
	t.Helper()
	r, err := theRig()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// background starts a program that runs until the guest is off.
func background(log, name string, args ...string) error {
	f, err := os.Create(filepath.Join(guest.Work, log))
	if err != nil {
		return err
	}
	defer f.Close()
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = f, f
	return c.Start()
}

// startTgt runs Debian's tgt with its cartridges in the work directory.
func startTgt() error {
	if err := background("tgtd.log", "tgtd", "-f", "--iscsi", "portal="+portal); err != nil {
		return err
	}
	var out []byte
	var err error
	adm := func(args string) {
		for range 50 { // it takes a moment to listen
			if out, err = exec.Command("tgtadm", strings.Fields(args)...).CombinedOutput(); err == nil || !bytes.Contains(out, []byte("can't connect")) && !bytes.Contains(out, []byte("failed to send")) {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil {
			err = fmt.Errorf("tgtadm %s: %w: %s", args, err, out)
		}
	}
	run := func(lines ...string) error {
		for _, l := range lines {
			if adm(l); err != nil {
				return err
			}
		}
		return nil
	}
	dir := filepath.Join(guest.Work, "tgt")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := range tapes {
		barcode := fmt.Sprintf("TGT%03dL5", i+1)
		if path := filepath.Join(dir, barcode); !exists(path) {
			if out, err := exec.Command("tgtimg", "--op", "new", "--device-type", "tape", "--barcode", barcode, "--size", os.Getenv(envSize), "--type", "data", "--file", path).CombinedOutput(); err != nil {
				return fmt.Errorf("tgtimg: %w: %s", err, out)
			}
		}
	}
	smc := filepath.Join(guest.Work, "smc") // the changer wants a file, and keeps nothing in it
	if err := os.WriteFile(smc, nil, 0o600); err != nil {
		return err
	}
	lines := []string{"--lld iscsi --mode target --op new --tid 1 --targetname " + target}
	for lun := 1; lun <= drives; lun++ {
		lines = append(lines,
			fmt.Sprintf("--lld iscsi --mode logicalunit --op new --tid 1 --lun %d --backing-store %s/TGT%03dL5 --device-type tape", lun, dir, lun),
			fmt.Sprintf("--lld iscsi --mode logicalunit --op update --tid 1 --lun %d --params scsi_sn=TGTDRV%02d,removable=1,online=0", lun, lun))
	}
	lines = append(lines,
		"--lld iscsi --mode logicalunit --op new --tid 1 --lun 3 --device-type changer --backing-store "+smc,
		"--lld iscsi --mode logicalunit --op update --tid 1 --lun 3 --params media_home="+dir,
		"--lld iscsi --mode logicalunit --op update --tid 1 --lun 3 --params element_type=4,start_address=1,quantity=2")
	for lun := 1; lun <= drives; lun++ {
		lines = append(lines, fmt.Sprintf("--lld iscsi --mode logicalunit --op update --tid 1 --lun 3 --params element_type=4,address=%d,tid=1,lun=%d", lun, lun))
	}
	lines = append(lines,
		"--lld iscsi --mode logicalunit --op update --tid 1 --lun 3 --params element_type=1,start_address=16,quantity=1",
		"--lld iscsi --mode logicalunit --op update --tid 1 --lun 3 --params element_type=2,start_address=1024,quantity=8")
	for i := range tapes {
		lines = append(lines, fmt.Sprintf("--lld iscsi --mode logicalunit --op update --tid 1 --lun 3 --params element_type=2,address=%d,barcode=TGT%03dL5,sides=1", 1024+i, i+1))
	}
	return run(append(lines, "--lld iscsi --mode target --op bind --tid 1 -I ALL")...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// startOurs runs the virtual library.
func startOurs() error {
	file := filepath.Join(guest.Work, "library.yaml")
	text := fmt.Sprintf(`name: vtl1
slots: 8
mailSlots: 1
timing: off
drives: [{name: drive1, model: LTO-8}, {name: drive2, model: LTO-8}]
cartridges: {count: %d, prefix: CAP, density: LTO-8, capacity: %sMiB}
`, tapes, os.Getenv(envSize))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	return background("vtl.log", os.Getenv(envBinary), "vtl", "serve", "--listen", portal, "--library", file, "--dir", filepath.Join(guest.Work, "vtl"), "--name", target)
}
