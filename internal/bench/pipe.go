package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// tlsPipe is the least that data over TLS between two processes costs: one reads
// the tree's files and writes their bytes into a connection of Go's TLS 1.3, the
// other writes what comes into one file; and back. It keeps no names and checks
// nothing.
type tlsPipe struct{ dir string }

// pipeCommand has this program be the receiving process: pipeCommand ADDRESS FILE.
const pipeCommand = "receive-pipe"

func (tlsPipe) name() string { return "bare TLS pipe" }

func (p tlsPipe) file() string { return filepath.Join(p.dir, "pipe.out") }

func (p tlsPipe) backup(ctx context.Context, t tree) error {
	return p.send(ctx, p.file(), func(w io.Writer, buf []byte) error {
		return filepath.WalkDir(t.path, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			return copyFile(w, path, buf)
		})
	})
}

func (p tlsPipe) restore(ctx context.Context, _ tree, to string) (string, error) {
	err := p.send(ctx, filepath.Join(to, "all"), func(w io.Writer, buf []byte) error { return copyFile(w, p.file(), buf) })
	if err != nil {
		return "", err
	}
	return "", os.Remove(p.file())
}

func copyFile(w io.Writer, path string, buf []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyBuffer(w, struct{ io.Reader }{f}, buf)
	return err
}

// pipeBuffer is Capstan's own block.
const pipeBuffer = 256 << 10

// send starts the receiver, which dials, and writes into the connection.
func (p tlsPipe) send(ctx context.Context, to string, write func(w io.Writer, buf []byte) error) error {
	cert, err := ephemeral()
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	if err != nil {
		return err
	}
	defer l.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var said strings.Builder
	r := exec.CommandContext(ctx, self, pipeCommand, l.Addr().String(), to)
	r.Stderr = &said
	if err := r.Start(); err != nil {
		return err
	}
	c, err := l.Accept()
	if err != nil {
		return err
	}
	if err := write(struct{ io.Writer }{c}, make([]byte, pipeBuffer)); err != nil {
		return err
	}
	if err := c.Close(); err != nil {
		return err
	}
	if err := r.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, said.String())
	}
	return nil
}

// receivePipe is the receiving process.
func receivePipe(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%s wants an address and a file", pipeCommand)
	}
	// The certificate is made for this one connection on the loopback interface.
	c, err := tls.Dial("tcp", args[0], &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}) //nolint:gosec // see above
	if err != nil {
		return err
	}
	defer c.Close()
	f, err := os.Create(args[1])
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{c}, make([]byte, pipeBuffer)); err != nil {
		return err
	}
	return f.Close()
}

func ephemeral() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
