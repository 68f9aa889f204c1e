package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// capstan is a domain of the real binary: everything on one host, or the client
// on a host of its own, which data reaches over TLS.
type capstan struct {
	title  string
	bin    string
	dir    string
	client string
	daemon []*exec.Cmd
}

func (c *capstan) name() string { return c.title }

// newCapstan makes a domain below dir and starts its daemons.
func newCapstan(ctx context.Context, title, bin, dir string, two bool) (*capstan, error) {
	c := &capstan{title: title, bin: bin, dir: dir, client: "server1"}
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	kinds := "master,media,client"
	if two {
		kinds, c.client = "master,media", "client1"
	}
	if _, err := c.run(ctx, "", "init", "--domain", "bench", "--name", "server1", "--kinds", kinds, "--listen", addr, "--dir", c.sub("server1")); err != nil {
		return nil, err
	}
	err = c.start(ctx, "master", "server1")
	if err == nil && two {
		err = c.enroll(ctx, addr)
	}
	for _, storage := range []string{"large", "small"} {
		if err == nil {
			err = c.policy(ctx, storage)
		}
	}
	if err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

func (c *capstan) sub(name string) string { return filepath.Join(c.dir, name) }

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// run runs a command of the binary as the master's host, or with another's file.
func (c *capstan) run(ctx context.Context, config string, args ...string) (string, error) {
	if config != "" {
		args = append(args, "--config", filepath.Join(c.sub(config), "host.yaml"))
	}
	return command(ctx, c.bin, args...)
}

// start runs the daemon of a host and waits until the domain answers.
func (c *capstan) start(ctx context.Context, kind, host string) error {
	log, err := os.Create(c.sub(host + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	d := exec.Command(c.bin, kind, "--config", filepath.Join(c.sub(host), "host.yaml"))
	d.Stdout, d.Stderr = log, log
	if err := d.Start(); err != nil {
		return err
	}
	c.daemon = append(c.daemon, d)
	for range 100 {
		if _, err = c.run(ctx, "server1", "jobs"); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// enroll makes the client's host and starts it.
func (c *capstan) enroll(ctx context.Context, master string) error {
	out, err := c.run(ctx, "server1", "enroll", "--token-for", c.client, "--kinds", "client")
	if err != nil {
		return err
	}
	token := ""
	for f := strings.Fields(out); len(f) > 1; f = f[1:] {
		if f[0] == "--token" {
			token = f[1]
		}
	}
	addr, err := freePort()
	if err != nil {
		return err
	}
	if _, err := c.run(ctx, "", "enroll", "--master", "server1="+master, "--token", token, "--name", c.client, "--listen", addr, "--dir", c.sub(c.client)); err != nil {
		return err
	}
	// The master finds the client by its own configuration.
	path := filepath.Join(c.sub("server1"), "host.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text = append(text, fmt.Sprintf("hosts: {%s: '%s'}\n", c.client, addr)...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	c.stop()
	if err := c.start(ctx, "master", "server1"); err != nil {
		return err
	}
	return c.start(ctx, "client", c.client)
}

// policy makes the policy of a tree, which has the tree's directory's name.
func (c *capstan) policy(ctx context.Context, name string) error {
	path := c.sub(name + ".yaml")
	// Its window is days away: no backup but those that are measured.
	later := strings.ToLower(time.Now().AddDate(0, 0, 3).Weekday().String()[:3])
	text := fmt.Sprintf("name: %s\nclients: [%s]\npaths: [%s]\nstorage: disk\nretention: 28d\n"+
		"schedules: [{name: full, type: full, frequency: 7d, windows: [{days: [%s], start: '12:00', length: 1h}]}]\n",
		name, c.client, filepath.Join(filepath.Dir(c.dir), name), later)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	_, err := c.run(ctx, "server1", "policy", "add", path)
	return err
}

func (c *capstan) backup(ctx context.Context, t tree) error {
	_, err := c.run(ctx, "server1", "backup", filepath.Base(t.path), "--wait")
	return err
}

// lastImage is the backup id of the last backup of a tree.
func (c *capstan) lastImage(ctx context.Context, t tree) (string, error) {
	out, err := c.run(ctx, "server1", "images", "--policy", filepath.Base(t.path), "--json")
	if err != nil {
		return "", err
	}
	var images []struct {
		BackupID string `json:"backupId"`
	}
	if err := json.Unmarshal([]byte(out), &images); err != nil || len(images) == 0 {
		return "", fmt.Errorf("reading the list of images: %w\n%s", err, out)
	}
	return images[len(images)-1].BackupID, nil
}

func (c *capstan) restore(ctx context.Context, t tree, to string) (string, error) {
	_, err := c.run(ctx, "server1", "restore", t.path, "--client", c.client, "--policy", filepath.Base(t.path), "--strip", filepath.Dir(t.path), "--to", to, "--wait")
	return filepath.Join(to, filepath.Base(t.path)), err
}

// stop ends the daemons, the last first.
func (c *capstan) stop() {
	for i := len(c.daemon) - 1; i >= 0; i-- {
		d := c.daemon[i]
		if err := errors.Join(d.Process.Signal(os.Interrupt), d.Wait()); err != nil {
			say("%s: %v", d, err)
		}
	}
	c.daemon = nil
}
