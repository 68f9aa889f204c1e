//go:build devices

package guest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/internal/guest"
	"capstan/internal/sametree"
)

// domain is a domain of one host, with the guest's library as its hardware. Its
// state is on the host, and so outlives the guest.
type domain struct {
	dir    string
	master *exec.Cmd // nil: it does not run
}

func (d *domain) config() string { return filepath.Join(d.dir, "host.yaml") }

// run runs the capstan command.
func (d *domain) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := d.try(args...)
	if err != nil {
		t.Fatalf("capstan %s: %v\n%s\nthe end of the master's log:\n%s", strings.Join(args, " "), err, out, d.log(t))
	}
	return out
}

func (d *domain) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, os.Getenv(envBinary), args...)
	c.Env = append(os.Environ(), "CAPSTAN_CONFIG="+d.config())
	out, err := c.CombinedOutput()
	return string(out), err
}

// log is the end of the master's log.
func (d *domain) log(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(d.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b[max(0, len(b)-4000):])
}

// start starts the host's daemon and waits for its robot.
func (d *domain) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(d.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d.master = exec.Command(os.Getenv(envBinary), "master", "--config", d.config())
	d.master.Stdout, d.master.Stderr = log, log
	if err := d.master.Start(); err != nil {
		t.Fatal(err)
	}
	var out string
	for range 300 {
		if out, err = d.try("drives"); err == nil && strings.Count(out, "up") >= drives {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("the drives are not up: %v\n%s\n%s", err, out, d.log(t))
}

// stop ends the daemon as an operator does.
func (d *domain) stop(t *testing.T) {
	t.Helper()
	if d.master == nil {
		return
	}
	if err := d.master.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := d.master.Wait(); err != nil {
		t.Fatalf("capstan master ended badly: %v\n%s", err, d.log(t))
	}
	d.master = nil
}

// newDomain makes a domain whose devices are those that "capstan devices" finds.
func newDomain(t *testing.T, name string) *domain {
	t.Helper()
	d := &domain{dir: filepath.Join(guest.Work, name)}
	d.run(t, "init", "--domain", "example", "--name", "backup1", "--kinds", "master,media,client", "--listen", "127.0.0.1:1556", "--dir", d.dir)
	text, err := os.ReadFile(d.config())
	if err != nil {
		t.Fatal(err)
	}
	// The virtual library and its storage units go.
	head, _, ok := strings.Cut(string(text), "libraries:")
	if !ok {
		t.Fatalf("no libraries in\n%s", text)
	}
	head = regexp.MustCompile(`(?m)^runDir: .*$`).ReplaceAllString(head, "runDir: /run/"+name)
	d.write(t, head)
	out := d.run(t, "devices", "--write", d.config())
	unit := regexp.MustCompile(`(?m)^ *- name: \S+-tape(\n +\S.*)+`).FindString(out)
	if unit == "" {
		t.Fatalf("capstan devices told no storage unit:\n%s", out)
	}
	text, err = os.ReadFile(d.config())
	if err != nil {
		t.Fatal(err)
	}
	d.write(t, string(text)+"storageUnits:\n"+unit+"\n    blockSize: 256KiB\n")
	return d
}

func (d *domain) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(d.config(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// unit is the name of the storage unit.
func (d *domain) unit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(d.config())
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`- name: (\S+-tape)`).FindStringSubmatch(string(text))[1]
}

// driver has the domain use one of the two ways to a drive.
func (d *domain) driver(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile(d.config())
	if err != nil {
		t.Fatal(err)
	}
	plain := regexp.MustCompile(`(?m)^ *driver: .*\n`).ReplaceAllString(string(text), "")
	d.write(t, regexp.MustCompile(`(?m)^( *)kind: drive$`).ReplaceAllString(plain, "${1}kind: drive\n${1}driver: "+name))
}

// policy adds a policy for one directory.
func (d *domain) policy(t *testing.T, name, path string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	text := fmt.Sprintf("name: %s\nclients: [backup1]\npaths: [%s]\nstorage: %s\n", name, path, d.unit(t))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.run(t, "policy", "add", file)
}

// image is what "capstan images" tells of one.
type image struct {
	BackupID  string   `json:"backupId"`
	Policy    string   `json:"policy"`
	Fragments int      `json:"fragments"`
	Where     []string `json:"where"`
}

// images are those of a policy; of all with "".
func (d *domain) images(t *testing.T, policy string) []image {
	t.Helper()
	var all, of []image
	if err := json.Unmarshal([]byte(d.run(t, "images", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if policy == "" || i.Policy == policy {
			of = append(of, i)
		}
	}
	return of
}

// restored restores a directory and compares it with the original.
func (d *domain) restored(t *testing.T, path string) {
	t.Helper()
	to, err := os.MkdirTemp("/tmp", "restored")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(to)
	d.run(t, "restore", path, "--client", "backup1", "--to", to, "--wait")
	same(t, path, filepath.Join(to, path))
}

func same(t *testing.T, a, b string) {
	t.Helper()
	r, err := sametree.Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if r.Different > 0 || r.Entries < 2 {
		t.Fatalf("%d entries, %d differences:\n%s", r.Entries, r.Different, strings.Join(r.Differences, "\n"))
	}
	t.Logf("%d entries, %d bytes are the same", r.Entries, r.Bytes)
}

// plant makes a tree of files of the given sizes, the same each time.
func plant(t *testing.T, name string, sizes ...int) string {
	t.Helper()
	dir := filepath.Join(guest.Work, name)
	if exists(dir) {
		return dir
	}
	random := rand.NewChaCha8([32]byte{1})
	for i, n := range sizes {
		path := filepath.Join(dir, fmt.Sprintf("d%d", i%7), fmt.Sprintf("file%03d", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, n)
		random.Read(b) //nolint:errcheck // it has no errors
		if err := os.WriteFile(path, b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "d0/file000"), filepath.Join(dir, "d1/a hard link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../d0/file000", filepath.Join(dir, "d1/a symbolic link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// cartridge is how many bytes fit on one.
func cartridge(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv(envSize))
	if err != nil {
		t.Fatal(err)
	}
	return n << 20
}

// smallTree is of a few megabytes, bigTree of more than a cartridge.
func smallTree(t *testing.T) string {
	sizes := []int{0, 1, 511, 512, 513, 3 << 20}
	for i := range 60 {
		sizes = append(sizes, 1000*i)
	}
	return plant(t, "small", sizes...)
}

func bigTree(t *testing.T) string {
	capacity := cartridge(t)
	sizes := []int{3 * capacity / 4}
	for range 8 {
		sizes = append(sizes, capacity/13)
	}
	return plant(t, "big", sizes...)
}

// empty has the robot put everything back.
func (r *rig) empty(t *testing.T) {
	t.Helper()
	full := regexp.MustCompile(`Data Transfer Element (\d+):Full \(Storage Element (\d+) Loaded`)
	for _, m := range full.FindAllStringSubmatch(sh(t, "mtx -f "+r.Changer+" status"), -1) {
		sh(t, "mtx -f "+r.Changer+" unload "+m[2]+" "+m[1])
	}
}

// insert has the robot put the cartridge with a barcode into the first drive.
func (r *rig) insert(t *testing.T, media string) {
	t.Helper()
	r.empty(t)
	slot := regexp.MustCompile(`Storage Element (\d+):Full :VolumeTag ?= ?` + media)
	m := slot.FindStringSubmatch(sh(t, "mtx -f "+r.Changer+" status"))
	if m == nil {
		t.Fatalf("no cartridge %s in\n%s", media, sh(t, "mtx -f "+r.Changer+" status"))
	}
	sh(t, "mtx -f "+r.Changer+" load "+m[1]+" 0")
}

// TestCapstan is the whole flow on the hardware: what is backed up comes back, and other
// programs can read it.
func TestCapstan(t *testing.T) {
	r := newRig(t)
	var d *domain
	if !t.Run("capstan devices", func(t *testing.T) { d = newDomain(t, "one") }) {
		return
	}
	small, big := smallTree(t), bigTree(t)
	for _, driver := range []string{"sg", "st"} {
		t.Run("backup and restore by "+driver, func(t *testing.T) {
			d.driver(t, driver)
			d.start(t)
			defer d.stop(t)
			d.policy(t, "small-"+driver, small)
			d.run(t, "backup", "small-"+driver, "--wait")
			d.restored(t, small)
		})
		t.Run("an image on several cartridges by "+driver, func(t *testing.T) {
			d.driver(t, driver)
			d.start(t)
			defer d.stop(t)
			d.policy(t, "big-"+driver, big)
			d.run(t, "backup", "big-"+driver, "--wait")
			if is := d.images(t, "big-"+driver); len(is) != 1 || len(is[0].Where) < 2 {
				t.Fatalf("the image does not span: %+v", is)
			}
			d.restored(t, big)
		})
	}
	var first, spans []image
	d.start(t)
	first, spans = d.images(t, "small-sg"), d.images(t, "big-sg")
	d.stop(t)
	t.Run("mt and tar read it", func(t *testing.T) { readByTar(t, r, first, small) })
	if r.ours { // behind the end of data tgt gives tar bytes that nobody wrote, and it has no end
		t.Run("tar -M reads it from two cartridges", func(t *testing.T) { readByTarM(t, r, spans, big) })
	}
	r.empty(t)
}

// readByTar reads an image that is the first on its cartridge, behind the label.
func readByTar(t *testing.T, r *rig, images []image, tree string) {
	if len(images) != 1 {
		t.Fatalf("%d images", len(images))
	}
	st := r.Drives[0].ST
	r.insert(t, images[0].Where[0])
	to := extractDir(t)
	sh(t, "mt -f "+st+" setblk 0 && mt -f "+st+" rewind && mt -f "+st+" fsf 1")
	sh(t, "tar -x -p -M -b 512 -f "+st+" -C "+to)
	same(t, tree, filepath.Join(to, tree))
	again := extractDir(t)
	sh(t, "mt -f "+st+" rewind && mt -f "+st+" fsf 1")
	sh(t, "dd if="+st+" bs=256k status=none | tar -x -p -C "+again)
	same(t, tree, filepath.Join(again, tree))
}

// readByTarM reads an image that spans, with a script that changes the cartridge. It
// is the second image of its first cartridge: each image has its tape file, and its
// trailer's; the one that goes on has no trailer between.
func readByTarM(t *testing.T, r *rig, images []image, tree string) {
	if len(images) != 1 || len(images[0].Where) < 2 {
		t.Fatalf("no image that spans: %+v", images)
	}
	st := r.Drives[0].ST
	to := extractDir(t)
	next := filepath.Join(to, "next")
	slot := regexp.MustCompile(`Storage Element (\d+):Full :VolumeTag ?= ?` + images[0].Where[1])
	r.insert(t, images[0].Where[0])
	m := slot.FindStringSubmatch(sh(t, "mtx -f "+r.Changer+" status"))
	if m == nil {
		t.Fatal("the second cartridge is not in a slot")
	}
	script := "#!/bin/sh\nset -e\nexec >&2\nmt -f " + st + " offline\nmtx -f " + r.Changer + " unload\n" +
		"mtx -f " + r.Changer + " load " + m[1] + " 0\nmt -f " + st + " setblk 0\nmt -f " + st + " rewind\nmt -f " + st + " fsf 1\n"
	if err := os.WriteFile(next, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	sh(t, "mt -f "+st+" setblk 0 && mt -f "+st+" rewind && mt -f "+st+" fsf 3")
	sh(t, "tar -x -p -M -b 512 -f "+st+" -F "+next+" -C "+to)
	same(t, tree, filepath.Join(to, tree))
}

// extractDir is a directory for what tar extracts.
func extractDir(t *testing.T) string {
	t.Helper()
	to, err := os.MkdirTemp("/tmp", "tar")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(to) })
	return to
}

// TestReboot: the guest was switched off in between; drives and robot have other
// device files perhaps, and the cartridges what was written on them.
func TestReboot(t *testing.T) {
	r := newRig(t)
	r.empty(t)
	d := &domain{dir: filepath.Join(guest.Work, "one")}
	small, big := smallTree(t), bigTree(t)
	t.Run("restore after a reboot", func(t *testing.T) {
		d.start(t)
		defer d.stop(t)
		d.restored(t, big)
	})
	t.Run("append after a reboot", func(t *testing.T) {
		d.start(t)
		defer d.stop(t)
		before := d.images(t, "small-sg")
		written := map[string]bool{}
		for _, i := range d.images(t, "") {
			for _, media := range i.Where {
				written[media] = true
			}
		}
		d.run(t, "backup", "small-sg", "--wait")
		after := d.images(t, "small-sg")
		if len(before) != 1 || len(after) != 2 {
			t.Fatalf("%d images before, %d after", len(before), len(after))
		}
		for _, i := range after {
			if !written[i.Where[0]] {
				t.Errorf("the image is on %s, which was empty: it was not appended", i.Where)
			}
		}
		d.restored(t, small)
	})
	d.start(t)
	written := d.images(t, "")
	d.stop(t)
	for _, driver := range []string{"sg", "st"} {
		t.Run("import from the bare tape by "+driver, func(t *testing.T) {
			imported(t, newDomain(t, "import-"+driver), driver, written)
			r.empty(t)
		})
	}
}

// imported has another domain, which knows nothing of the cartridges, import the images
// on them, and restores them.
func imported(t *testing.T, d *domain, driver string, written []image) {
	d.driver(t, driver)
	d.start(t)
	defer d.stop(t)
	var media []string
	for _, i := range written {
		for _, m := range i.Where {
			if !slices.Contains(media, m) {
				media = append(media, m)
			}
		}
	}
	if is := d.images(t, ""); len(is) > 0 || len(written) < 5 {
		t.Fatalf("%d images before the import of %d", len(is), len(written))
	}
	t.Log(d.run(t, "import", "--media", strings.Join(media, ","), "--wait"))
	if got, want := fmt.Sprintf("%+v", d.images(t, "")), fmt.Sprintf("%+v", written); got != want {
		t.Fatalf("imported:\n%s\nwritten:\n%s", got, want)
	}
	d.restored(t, smallTree(t))
	d.restored(t, bigTree(t))
}
