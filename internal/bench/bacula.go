package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// bacula is a director, a storage daemon and a file daemon of Debian's packages
// with a catalog in SQLite and volumes as files, without compression and with
// its default signature, SHA1.
type bacula struct {
	dir    string
	daemon []*exec.Cmd
	ports  [3]string
	jobs   int
}

// The schema that the package brings, and its programs.
const (
	baculaSchema = "/usr/share/dbconfig-common/data/bacula-director-sqlite3/install/sqlite3"
	baculaStarts = 20 * time.Second
)

func (*bacula) name() string { return "Bacula" }

func newBacula(ctx context.Context, dir string) (*bacula, error) {
	b := &bacula{dir: dir}
	for _, p := range []string{"bacula-dir", "bacula-sd", "bacula-fd", "bconsole", "sqlite3"} {
		if _, err := exec.LookPath(p); err != nil {
			return nil, err
		}
	}
	for _, d := range []string{"work", "volumes"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	for i := range b.ports {
		addr, err := freePort()
		if err != nil {
			return nil, err
		}
		b.ports[i] = addr[strings.LastIndexByte(addr, ':')+1:]
	}
	if err := b.configure(); err != nil {
		return nil, err
	}
	if _, err := command(ctx, "sh", "-c", fmt.Sprintf("sqlite3 %s/work/bacula.db < %s", dir, baculaSchema)); err != nil {
		return nil, err
	}
	for _, d := range []string{"sd", "fd", "dir"} {
		c := exec.Command("bacula-"+d, "-f", "-c", filepath.Join(dir, d+".conf"))
		if err := c.Start(); err != nil {
			b.stop()
			return nil, err
		}
		b.daemon = append(b.daemon, c)
	}
	var err error
	for end := time.Now().Add(baculaStarts); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if _, err = b.console(ctx, "status dir"); err == nil {
			return b, nil
		}
	}
	b.stop()
	return nil, fmt.Errorf("its director does not answer: %w", err)
}

// The configuration's files. A "}" never follows a value on its line, which
// Bacula's parser would take for a part of it.
//
//go:embed bacula/*.conf
var baculaFiles embed.FS

// configure writes the files.
func (b *bacula) configure() error {
	values := struct {
		Dir, Trees, Director, Client, Storage string
		Jobs                                  []string
	}{b.dir, filepath.Dir(b.dir), b.ports[0], b.ports[1], b.ports[2], []string{"large", "small"}}
	all, err := template.ParseFS(baculaFiles, "bacula/*.conf")
	if err != nil {
		return err
	}
	for _, t := range all.Templates() {
		var text bytes.Buffer
		if err := t.Execute(&text, values); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(b.dir, t.Name()), text.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// console runs commands of bconsole.
func (b *bacula) console(ctx context.Context, lines ...string) (string, error) {
	script := strings.Join(lines, "\n") + "\nquit\n"
	c := exec.CommandContext(ctx, "bconsole", "-n", "-c", filepath.Join(b.dir, "console.conf"))
	c.Stdin = strings.NewReader(script)
	out, err := c.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("bconsole: %w\n%s", err, tail(out))
	}
	return string(out), nil
}

// job runs a command that starts a job and waits for it to end well.
func (b *bacula) job(ctx context.Context, start string) error {
	b.jobs++
	if out, err := b.console(ctx, start, fmt.Sprintf("wait jobid=%d", b.jobs)); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	out, err := command(ctx, "sqlite3", filepath.Join(b.dir, "work", "bacula.db"), fmt.Sprintf("select JobStatus from Job where JobId=%d", b.jobs))
	if err != nil {
		return err
	}
	if s := strings.TrimSpace(out); s != "T" && s != "W" {
		log, _ := os.ReadFile(filepath.Join(b.dir, "work", "log"))
		return fmt.Errorf("job %d ended as %q\n%s", b.jobs, s, tail(log))
	}
	return nil
}

func (b *bacula) backup(ctx context.Context, t tree) error {
	return b.job(ctx, fmt.Sprintf("run job=%s level=Full yes", filepath.Base(t.path)))
}

func (b *bacula) restore(ctx context.Context, t tree, to string) (string, error) {
	err := b.job(ctx, fmt.Sprintf("restore client=fd restorejob=restore where=%s jobid=%d all done yes", to, b.jobs))
	return filepath.Join(to, t.path), err
}

// stop ends the daemons.
func (b *bacula) stop() {
	for _, d := range b.daemon {
		// Their exit by a signal is how they end.
		_ = errors.Join(d.Process.Signal(os.Interrupt), d.Wait())
	}
}
