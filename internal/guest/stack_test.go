//go:build devices

package guest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shell is a command of the guest, which may not take for ever.
func shell(command string) *exec.Cmd {
	return exec.Command("timeout", "-k", "5", "120", "sh", "-c", command)
}

// sh runs a command of the guest and gives what it printed.
func sh(t *testing.T, command string) string {
	t.Helper()
	out, err := shell(command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// shFails runs a command that must fail.
func shFails(t *testing.T, command string) string {
	t.Helper()
	out, err := shell(command).CombinedOutput()
	if err == nil {
		t.Fatalf("%s: it succeeded\n%s", command, out)
	}
	return string(out)
}

func want(t *testing.T, out, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(out) {
		t.Fatalf("want %q in:\n%s", pattern, out)
	}
}

// TestLibrary drives the library with the programs that every operator has,
// through the kernel's own drivers.
func TestLibrary(t *testing.T) {
	r := newRig(t)
	d := r.Drives[0]
	t.Run("mtx status", func(t *testing.T) {
		out := sh(t, "mtx -f "+r.Changer+" status")
		want(t, out, `Storage Changer .*2 Drives, [89] Slots`)
		want(t, out, `VolumeTag ?= ?(CAP|TGT)001L[58]`)
	})
	t.Run("mtx load, unload, transfer", func(t *testing.T) {
		sh(t, "mtx -f "+r.Changer+" load 2 1")
		want(t, sh(t, "mtx -f "+r.Changer+" status"), `Data Transfer Element 1:Full`)
		sh(t, "mtx -f "+r.Changer+" unload 2 1; mtx -f "+r.Changer+" transfer 2 8")
		sh(t, "mtx -f "+r.Changer+" transfer 8 2")
		shFails(t, "mtx -f "+r.Changer+" transfer 8 2") // it is empty
	})
	t.Run("sg_inq and sg_vpd", func(t *testing.T) {
		want(t, sh(t, "sg_inq "+r.Changer), `medium changer`)
		want(t, sh(t, "sg_inq "+d.SG), `tape`)
		want(t, sh(t, "sg_vpd -p sn "+d.SG), `serial number: +\S+`)
		sh(t, "sg_vpd -p di "+d.SG)
	})
	sh(t, "mtx -f "+r.Changer+" load 1 0")
	t.Run("mt and dd", func(t *testing.T) { testMT(t, d.ST, r.ours) })
	t.Run("tar", func(t *testing.T) { testTar(t, d.ST) })
	if r.ours {
		t.Run("sg_logs, sg_modes, sg_read_attr", func(t *testing.T) {
			want(t, sh(t, "sg_logs -p 0x2e "+d.SG), `(?i)tape ?alert`)
			sh(t, "sg_modes -a "+d.SG)
			sh(t, "sg_read_attr "+d.SG)
		})
		t.Run("mt seek and tell", func(t *testing.T) {
			sh(t, "mt -f "+d.ST+" rewind && mt -f "+d.ST+" seek 2")
			want(t, sh(t, "mt -f "+d.ST+" tell"), `block 2`)
		})
	}
	if r.ours { // tgt fails it: its SPACE runs over filemarks
		t.Run("btape of Bacula", func(t *testing.T) { testBtape(t, r) })
	}
	t.Run("throughput of dd", func(t *testing.T) {
		sh(t, "mt -f "+d.ST+" rewind && mt -f "+d.ST+" setblk 0")
		out := sh(t, "dd if=/dev/zero of="+d.ST+" bs=256k count=200 2>&1")
		t.Log("pace: dd writes, 256 KiB blocks:", lastLine(out))
		sh(t, "mt -f "+d.ST+" rewind")
		t.Log("pace: dd reads, 256 KiB blocks: ", lastLine(sh(t, "dd if="+d.ST+" of=/dev/null bs=256k 2>&1")))
	})
	sh(t, "mt -f "+d.ST+" rewind && mt -f "+d.ST+" offline || true; mtx -f "+r.Changer+" unload 1 0")
}

func lastLine(s string) string {
	l := strings.Split(strings.TrimSpace(s), "\n")
	return l[len(l)-1]
}

// testMT writes two files of blocks and goes about on them.
func testMT(t *testing.T, st string, exact bool) {
	mt := "mt -f " + st + " "
	buffer := "bs=128k"
	if !exact { // tgt counts a block that is shorter than the buffer wrongly
		buffer = "bs=51200"
	}
	sh(t, mt+"rewind && "+mt+"setblk 0")
	sh(t, "head -c 307200 /bin/bash > /tmp/a && head -c 102400 /bin/ls > /tmp/b")
	sh(t, "dd if=/tmp/a of="+st+" bs=102400 2>/dev/null && dd if=/tmp/b of="+st+" bs=51200 2>/dev/null")
	sh(t, mt+"rewind && "+mt+"fsf 1")
	sh(t, "dd if="+st+" "+buffer+" of=/tmp/b2 2>/dev/null && cmp /tmp/b /tmp/b2")
	sh(t, mt+"rewind && dd if="+st+" bs=102400 of=/tmp/a2 2>/dev/null && cmp /tmp/a /tmp/a2")
	if exact { // tgt's residues are wrong, and with them the kernel's file number
		sh(t, mt+"eod")
		want(t, sh(t, mt+"status"), `(?i)file number=2`)
		sh(t, mt+"bsf 1")
		sh(t, mt+"rewind")
	}
}

func testTar(t *testing.T, st string) {
	sh(t, "mt -f "+st+" rewind && tar -b 128 -cf "+st+" -C /usr/share/doc/tar . && mt -f "+st+" rewind")
	sh(t, "tar -b 128 -df "+st+" -C /usr/share/doc/tar && mt -f "+st+" rewind")
	want(t, sh(t, "tar -b 128 -tf "+st), `copyright`)
	if err := os.RemoveAll(filepath.Join("/tmp", "tar")); err != nil {
		t.Fatal(err)
	}
}

// testBtape runs all of Bacula's own test of a tape drive and its autochanger:
// blocks written, read back, appended to, positioned by files and blocks, and
// cartridges changed by the robot.
func testBtape(t *testing.T, r *rig) {
	conf := fmt.Sprintf(btapeConf, r.Changer, r.Drives[0].ST)
	if err := os.WriteFile("/tmp/bacula-sd.conf", []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	sh(t, "mkdir -p /var/lib/bacula")
	c := exec.Command("btape", "-c", "/tmp/bacula-sd.conf", r.Drives[0].ST)
	// It asks once, whether to go on with the autochanger.
	c.Stdin = strings.NewReader("test\ny\nquit\n")
	out, err := c.CombinedOutput()
	text := string(out)
	if err != nil {
		t.Fatalf("btape: %v\n%s", err, text)
	}
	for _, w := range []string{
		"10000 blocks re-read correctly", "Block 20000 re-read correctly", "We should be in file 4. I am at file 4. This is correct!",
		"Block re-read correct. Test succeeded!", "We should be in file 5. I am at file 5. This is correct!", "The test autochanger worked!!",
	} {
		if !strings.Contains(text, w) {
			t.Errorf("btape does not say %q:\n%s", w, text)
			return
		}
	}
	for _, bad := range []string{"failed", "ERR=", "incorrect"} {
		if strings.Contains(text, bad) {
			t.Errorf("btape says %q:\n%s", bad, text)
			return
		}
	}
}

const btapeConf = `
Storage {
  Name = sd
  WorkingDirectory = /tmp
  Pid Directory = /tmp
}
Director {
  Name = dir
  Password = x
}
Autochanger {
  Name = changer
  Device = drive
  Changer Command = "/etc/bacula/scripts/mtx-changer %%c %%o %%S %%a %%d"
  Changer Device = %[1]s
}
Device {
  Name = drive
  Media Type = LTO
  Archive Device = %[2]s
  Autochanger = yes
  Drive Index = 0
  AutomaticMount = yes
  AlwaysOpen = yes
  RemovableMedia = yes
  RandomAccess = no
}
Messages {
  Name = Msgs
  director = dir = all
}
`
