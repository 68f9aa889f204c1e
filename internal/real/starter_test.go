package real_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capstan/core/bpjobd"
	"capstan/core/pbx"
	"capstan/internal/real"
	"capstan/scenarios"
)

// runMaster makes a domain and runs its master in this process.
func runMaster(t *testing.T) (config, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	addr = l.Addr().String()
	ok(t, l.Close())
	config, err = real.Init(real.Starter{Dir: t.TempDir(), Domain: "d", Name: "m", Kinds: pbx.Master | pbx.Media, Listen: addr})
	ok(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- real.Run(ctx, config, real.Options{
			Kind: pbx.Master, Log: slog.New(slog.DiscardHandler), Grace: time.Second, Ready: func(addr string) { ready <- addr },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return config, addr
}

func TestEnroll(t *testing.T) {
	config, addr := runMaster(t)
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	var hostConfig string
	t.Run("a host", func(t *testing.T) {
		token, _, err := real.NewToken(config, "c", pbx.Client, time.Minute)
		ok(t, err)
		s := real.Starter{Dir: t.TempDir(), Name: "c", Listen: "127.0.0.1:1", MasterName: "m", MasterAddress: addr, Token: token}
		path, id, err := real.Enroll(t.Context(), s)
		ok(t, err)
		if id.String() != "client:c" {
			t.Errorf("enrolled as %s, want client:c", id)
		}
		h, err := real.Load(path)
		ok(t, err)
		if h.Master() != "m" || h.Kinds != pbx.Client || h.Creds.Domain != "d" {
			t.Errorf("the configuration is of a %s of master %s in domain %s", h.Kinds, h.Master(), h.Creds.Domain)
		}
		if s.Dir = t.TempDir(); true {
			if _, _, err := real.Enroll(t.Context(), s); err == nil {
				t.Error("the token worked twice")
			}
		}
		b, err := os.ReadFile(path)
		ok(t, err)
		hostConfig = string(b)
	})
	t.Run("a person", func(t *testing.T) {
		token, _, err := real.NewToken(config, "alice", pbx.User, time.Minute)
		ok(t, err)
		path, id, err := real.Enroll(t.Context(), real.Starter{Name: "alice", MasterName: "m", MasterAddress: addr, Token: token})
		ok(t, err)
		if path != "" || id.String() != "user:alice" {
			t.Errorf("enrolled as %s with configuration %q, want user:alice with none", id, path)
		}
		// The host's configuration can be read, its key cannot.
		file := filepath.Join(t.TempDir(), real.ConfigFile)
		h, err := scenarios.Load[scenarios.Host](file, []byte(hostConfig))
		ok(t, err)
		h.StateDir = "/nonexistent"
		text, err := scenarios.Marshal(h)
		ok(t, err)
		ok(t, os.WriteFile(file, text, 0o600))
		s, err := real.Open(t.Context(), file, "test")
		ok(t, err)
		defer s.Close()
		if _, err := bpjobd.List.Call(s.Context(), pbx.At(s.Master(), bpjobd.Service), bpjobd.Query{}); err != nil {
			t.Errorf("a call as the user: %v", err)
		}
	})
}

func TestSecondDaemonIsRefused(t *testing.T) {
	config, _ := runMaster(t)
	err := real.Run(t.Context(), config, real.Options{Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "another daemon runs") {
		t.Errorf("got %v, want it to say that another daemon runs", err)
	}
}

func TestKindIsInsistedOn(t *testing.T) {
	config, err := real.Init(real.Starter{Dir: t.TempDir(), Domain: "d", Name: "m", Kinds: pbx.Master, Listen: "127.0.0.1:1"})
	ok(t, err)
	err = real.Run(t.Context(), config, real.Options{Kind: pbx.Media, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "configured as master, not as media") {
		t.Errorf("got %v, want it to say that the host is no media server", err)
	}
}

// A configuration that claims more than the certificate proves does not run.
func TestKindsNeedTheCertificate(t *testing.T) {
	config, err := real.Init(real.Starter{Dir: t.TempDir(), Domain: "d", Name: "m", Kinds: pbx.Master, Listen: "127.0.0.1:1"})
	ok(t, err)
	text, err := os.ReadFile(config)
	ok(t, err)
	changed := strings.Replace(string(text), "- master\n", "- master\n  - client\n", 1)
	if changed == string(text) {
		t.Fatalf("the configuration has another form:\n%s", text)
	}
	ok(t, os.WriteFile(config, []byte(changed), 0o600))
	if _, err := real.Load(config); err == nil || !strings.Contains(err.Error(), "certificate says master") {
		t.Errorf("got %v, want it to say what the certificate says", err)
	}
}
