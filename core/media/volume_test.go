package media_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"capstan/core/media"
)

// gnuTar runs GNU tar over volume files.
func gnuTar(t *testing.T, args []string, vols []string) (string, error) {
	t.Helper()
	for _, v := range vols {
		args = append(args, "-f", v)
	}
	cmd := exec.Command("tar", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func needGNUTar(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("tar", "--version").Output(); err != nil || !strings.Contains(string(out), "GNU tar") {
		t.Skip("GNU tar is not installed")
	}
}

// save writes the volumes as a disk unit does.
func save(t *testing.T, vols []*volume) []string {
	t.Helper()
	dir := t.TempDir()
	var names []string
	for _, v := range vols {
		data, _ := media.DiskName(v.Header.BackupID, v.Header.Copy, v.Header.Number)
		names = append(names, filepath.Join(dir, data))
		if err := os.WriteFile(names[len(names)-1], v.file(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// TestGNUTarReadsVolumes cuts an image before each slot in turn, as early warning
// may, and has GNU tar restore it from its volumes, without any catalog.
func TestGNUTarReadsVolumes(t *testing.T) {
	needGNUTar(t)
	fs := testFS()
	files(t, fs)
	ring, all := pack(t, fs, media.MinBlockSize, media.Limits{})
	for i := range ring.list {
		ring.at, ring.free = 0, false
		vols := record(t, ring, func(k int) bool { return k == i || k > i && k%5 == i%5 })
		out := t.TempDir()
		msg, err := gnuTar(t, []string{"-x", "-M", "-C", out}, save(t, vols))
		if err != nil || msg != "" {
			t.Fatalf("cut before slot %d: %v\n%s", i, err, msg)
		}
		compare(t, fs, out, all, fmt.Sprintf("cut before slot %d", i))
		if i%8 != 0 {
			os.RemoveAll(out)
		}
	}
}

// compare compares the regular files of an image with what was restored.
func compare(t *testing.T, fs interface{ ReadFile(string) ([]byte, error) }, out string, all *collect, what string) {
	t.Helper()
	for _, e := range all.entries {
		if e.Type != '0' {
			continue
		}
		want, err := fs.ReadFile(e.Path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(out, e.Path))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %q: %d bytes, %v; want %d", what, e.Path, len(got), err, len(want))
		}
	}
}

// TestPlainTarReadsVolumes: where no member crosses, each fragment is an archive
// by itself.
func TestPlainTarReadsVolumes(t *testing.T) {
	needGNUTar(t)
	fs := testFS()
	files(t, fs)
	ring, all := pack(t, fs, media.MinBlockSize, media.Limits{Bytes: 200_000})
	vols := record(t, ring, func(int) bool { return false })
	if len(vols) < 2 {
		t.Fatalf("%d fragments", len(vols))
	}
	out := t.TempDir()
	for i, name := range save(t, vols) {
		if vols[i].Header.Continued != nil || vols[i].Bytes > 200_000 {
			t.Errorf("fragment %d: %+v, %d bytes", i+1, vols[i].Header, vols[i].Bytes)
		}
		if msg, err := gnuTar(t, []string{"-x", "-C", out}, []string{name}); err != nil || msg != "" {
			t.Fatalf("fragment %d: %v\n%s", i+1, err, msg)
		}
	}
	compare(t, fs, out, all, "plain tar")
}

// TestTapeRecords gives GNU tar the blocks through a pipe, one write each: short
// blocks in the middle of a file are no end to it.
func TestTapeRecords(t *testing.T) {
	needGNUTar(t)
	fs := testFS()
	files(t, fs)
	ring, all := pack(t, fs, media.MinBlockSize, media.Limits{})
	vols := record(t, ring, func(int) bool { return false })
	out := t.TempDir()
	cmd := exec.Command("tar", "-x", "-b", fmt.Sprint(media.MinBlockSize/512), "-f", "-", "-C", out)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	short := 0
	for _, b := range vols[0].blocks {
		if len(b) < media.MinBlockSize {
			short++
		}
		if _, err := in.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil || short < 3 {
		t.Fatalf("%v; %d short blocks", err, short)
	}
	compare(t, fs, out, all, "records")
}

// TestLabelIsReadable shows what an operator sees of a cartridge without Capstan.
func TestLabelIsReadable(t *testing.T) {
	needGNUTar(t)
	label, err := media.EncodeLabel(media.Label{MediaID: "A00001", Pool: "NetBackup", UUID: "u", BlockSize: media.DefaultBlockSize})
	if err != nil {
		t.Fatal(err)
	}
	end, err := media.EncodeEndHeader(media.EndHeader{MediaID: "A00001", File: 3})
	if err != nil {
		t.Fatal(err)
	}
	head, err := media.EncodeFragmentHeader(media.FragmentHeader{BackupID: "host_1", Copy: 1, Number: 2, BlockSize: media.MinBlockSize})
	if err != nil {
		t.Fatal(err)
	}
	for want, b := range map[string][]byte{"CAPSTAN A00001": label, "CAPSTAN A00001 end": end, "host_1_C1_F2": head} {
		name := filepath.Join(t.TempDir(), "block")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if msg, err := gnuTar(t, []string{"-t"}, []string{name}); err != nil || strings.TrimSpace(msg) != want {
			t.Errorf("tar t shows %q, %v; want %q", msg, err, want)
		}
	}
}
