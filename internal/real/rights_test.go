package real_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"capstan/core/bpbkar"
	"capstan/core/bpdbm"
	"capstan/core/bpjobd"
	"capstan/core/bprd"
	"capstan/core/bprestore"
	"capstan/core/bptm"
	"capstan/core/host"
	"capstan/core/job"
	"capstan/core/ltid"
	"capstan/core/nbemm"
	"capstan/core/nbjm"
	"capstan/core/nbpem"
	"capstan/core/nbproxy"
	"capstan/core/nbrb"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/status"
	"capstan/core/trace"
	"capstan/core/txxcd"
	"capstan/core/txxd"
	"capstan/hw/port"
	"capstan/internal/real"
	"capstan/internal/real/loopback"
)

// attempt is a call that its caller has no right to.
type attempt struct {
	name string
	do   func(ctx context.Context) error
}

// call is a call of a method at an address.
func call[Q, A any](m *pbx.Method[Q, A], at pbx.Addr, q Q) attempt {
	return attempt{string(at) + " " + m.Name(), func(ctx context.Context) error {
		_, err := m.Call(ctx, at, q)
		return err
	}}
}

// What the certificate of one client does not let it do to another, and to the domain.
func TestRights(t *testing.T) {
	f := newDomain(t, loopback.Options{Clients: []string{client2}})
	b := f.backUpAs(t, policyName, "disk", status.OK)
	s, err := real.Open(context.WithoutCancel(t.Context()), f.Config(client2), "intruder")
	ok(t, err)
	defer s.Close()
	at := func(service string) pbx.Addr { return pbx.At(loopback.Master, service) }
	media := func(service string) pbx.Addr { return pbx.At(loopback.Media, service) }
	spec := func(role string) host.Spec { return host.Spec{Role: role, Job: 77, Try: 1} }

	attempts := []attempt{
		call(bpdbm.Images, at(bpdbm.Service), bpdbm.Query{Client: loopback.Client}),
		call(bpdbm.ListDir, at(bpdbm.Service), bpdbm.Dir{BackupID: b.BackupID, Path: "/"}),
		call(bpdbm.Select, at(bpdbm.Service), bpdbm.Selection{BackupID: b.BackupID}),
		call(bpdbm.ReadBlocks, at(bpdbm.Service), bpdbm.Blocks{BackupID: b.BackupID, Copy: 1, Number: 1}),
		call(bpdbm.CreateImage, at(bpdbm.Service), bpdbm.Create{}),
		call(bpdbm.AddFiles, at(bpdbm.Service), bpdbm.Files{BackupID: b.BackupID}),
		call(bpdbm.AddFragment, at(bpdbm.Service), bpdbm.Fragment{BackupID: b.BackupID}),
		call(bpdbm.CompleteImage, at(bpdbm.Service), bpdbm.Complete{BackupID: b.BackupID}),
		call(bpdbm.AbortImage, at(bpdbm.Service), b.BackupID),
		call(nbproxy.AbortImage, at(nbproxy.Service), b.BackupID),
		call(bpjobd.ReadLog, at(bpjobd.Service), bpjobd.LogQuery{Job: b.ID}),
		call(bpjobd.ReadTrace, at(bpjobd.Service), bpjobd.TraceQuery{Job: b.ID}),
		call(bpjobd.AddTrace, at(bpjobd.Service), []trace.Event{{Host: loopback.Client, Job: trace.Job{ID: b.ID}}}),
		call(bpjobd.AddLines, at(bpjobd.Service), bpjobd.Lines{Job: b.ID, Said: []job.Said{{Text: "forged"}}}),
		call(bpjobd.Add, at(bpjobd.Service), bpjobd.Added{Job: job.Job{ID: 99}}),
		call(bpjobd.Finish, at(bpjobd.Service), bpjobd.Update{ID: b.ID}),
		call(nbpem.BackupNow, at(nbpem.Service), nbpem.Backup{Policy: policyName, Client: loopback.Client}),
		call(nbpem.BackupNow, at(nbpem.Service), nbpem.Backup{Policy: policyName}),
		call(nbpem.PutPolicy, at(nbpem.Service), policy.Policy{Name: "mine", Clients: []string{client2}}),
		call(nbpem.DeletePolicy, at(nbpem.Service), policyName),
		call(nbjm.JobStart, at(nbjm.Service), job.Start{ID: 99, Client: client2}),
		call(nbjm.Cancel, at(nbjm.Service), nbjm.CancelJob{Job: b.ID}),
		call(nbjm.EndRestore, at(nbjm.Service), nbjm.RestoreEnded{}),
		call(bptm.AskMedia, at(nbjm.Service), bptm.Media{}),
		call(bptm.MediaDone, at(nbjm.Service), struct{}{}),
		call(nbrb.Granted, at(nbjm.Service), nbrb.Grant{}),
		call(nbrb.Ask, at(nbrb.Service), nbrb.Request{}),
		call(nbrb.Cancel, at(nbrb.Service), trace.Job{ID: b.ID, Try: 1}),
		call(nbrb.GiveBack, at(nbrb.Service), nbemm.Release{Job: b.ID, Try: 1}),
		call(nbemm.Allocate, at(nbemm.Service), nbemm.Request{Job: 99, Try: 1}),
		call(nbemm.ReleaseAll, at(nbemm.Service), nbemm.Release{Job: b.ID, Try: 1}),
		call(nbemm.MarkWritten, at(nbemm.Service), nbemm.Written{Media: "CAP001"}),
		call(nbemm.MarkDrive, at(nbemm.Service), nbemm.DriveMedia{}),
		call(nbemm.SayHello, at(nbemm.Service), nbemm.Hello{}),
		call(nbemm.Configure, at(nbemm.Service), nbemm.List{}),
		call(bprd.Cancel, at(bprd.Service), bprd.CancelJob{Job: b.ID}),
		call(bptm.Discard, media(bptm.Role), bptm.DiscardImage{BackupID: b.BackupID, Path: f.disk()}),
		call(ltid.MountIt, media(ltid.Service), ltid.Mount{}),
		call(ltid.UnmountIt, media(ltid.Service), ltid.Drive{Drive: "vtl1-d1"}),
		call(ltid.Reset, media(ltid.Service), ltid.Drive{Drive: "vtl1-d1"}),
		call(ltid.Begin, media(ltid.Service), struct{}{}),
		call(ltid.TakeInventory, media(ltid.Service), ltid.Inventory{Library: "vtl1"}),
		call(ltid.Export, media(ltid.Service), ltid.Cartridge{Library: "vtl1", Media: "CAP001"}),
		call(ltid.Import, media(ltid.Service), "vtl1"),
		call(txxcd.Rescan, media(txxcd.Service), "vtl1"),
		call(txxd.MountIt, media(txxd.Service), txxd.Mount{}),
		call(txxcd.MoveMedium, media(txxcd.Service), txxcd.Move{}),
		{"restore of another's files to itself", func(ctx context.Context) error {
			_, err := bprestore.Ask(ctx, loopback.Master, bprd.Request{Client: loopback.Client, To: client2, Target: t.TempDir()})
			return err
		}},
		{"restore of its own files to another", func(ctx context.Context) error {
			_, err := bprestore.Ask(ctx, loopback.Master, bprd.Request{Client: client2, To: loopback.Client, Target: t.TempDir()})
			return err
		}},
	}
	for _, h := range []string{loopback.Master, loopback.Media, loopback.Client, client2} {
		for _, role := range []string{"bpbrm", "bptm", "bpbkar", "tar", "bprd", real.LibraryRole} {
			attempts = append(attempts, call(host.StartMethod, pbx.At(h, host.Service), spec(role)))
		}
		attempts = append(attempts, call(host.EndMethod, pbx.At(h, host.Service), host.EndJob{Job: b.ID, Try: 1, Kill: true}))
	}
	refusals := []status.Code{status.NotAllowed, status.ClientNotAllowed, status.InvalidServer, status.NoImage, status.NotFound}
	for _, a := range attempts {
		if err := a.do(s.Context()); !slices.Contains(refusals, status.Of(err, status.OK)) {
			t.Errorf("%s by %s: %v; want a refusal", a.name, client2, err)
		}
	}
	f.sees(t, s, b)
	f.nothingLeft(t, map[string]bool{b.BackupID: true})
}

// sees checks that another client's lists show nothing of this one's.
func (f *fixture) sees(t *testing.T, s *real.Session, b job.Job) {
	t.Helper()
	images, err := bpdbm.Images.Call(s.Context(), pbx.At(loopback.Master, bpdbm.Service), bpdbm.Query{BackupID: b.BackupID})
	ok(t, err)
	jobs, err := bpjobd.List.Call(s.Context(), pbx.At(loopback.Master, bpjobd.Service), bpjobd.Query{})
	ok(t, err)
	if len(images.Images) > 0 || len(jobs.Jobs) > 0 {
		t.Errorf("%s is shown %d images and %d jobs of %s", client2, len(images.Images), len(jobs.Jobs), loopback.Client)
	}
	lines, err := f.Lines(f.ctx, b.ID)
	ok(t, err)
	for _, l := range lines {
		if l.Text == "forged" {
			t.Error("a line of another host is in the job's log")
		}
	}
}

// Another client that listens at a client's address is not taken for it.
func TestImpersonation(t *testing.T) {
	f := newDomain(t, loopback.Options{Clients: []string{client2}})
	ok(t, f.Stop(loopback.Client))
	victim, err := real.Load(f.Config(loopback.Client))
	ok(t, err)
	other, err := real.Load(f.Config(client2))
	ok(t, err)
	quiet, run := slog.New(slog.DiscardHandler), t.TempDir()
	x, err := port.Listen(port.ExchangeConfig{Listen: victim.Config.Listen, Run: run, Creds: other.Creds, Log: quiet})
	ok(t, err)
	p, err := port.New(port.Config{
		Self: pbx.At(client2, "impostor"), Creds: other.Creds, Run: run, Log: quiet,
		Resolve: func(string) (string, error) { return victim.Config.Listen, nil },
	})
	ok(t, err)
	asked := 0
	mux := pbx.NewMux(f.ctx, host.Service, 0)
	pbx.Handle(mux, host.StartMethod, func(_ context.Context, _ pbx.Peer, s host.Spec) (host.Started, error) {
		asked++
		return host.Started{}, status.Errorf(status.SystemError, "an impostor was asked for %s", s.Role)
	})
	stop, err := p.Serve(f.ctx, host.Service, mux)
	ok(t, err)
	// As itself it is there, and answers: it is refused for its name alone.
	ictx := pbx.With(f.ctx, p, 1, 0)
	if _, err := host.StartMethod.Call(ictx, pbx.At(client2, host.Service), host.Spec{}); status.Of(err, 0) != status.SystemError || asked != 1 {
		t.Fatalf("the impostor, called by its own name, answers %v", err)
	}
	_, err = host.StartMethod.Call(f.ctx, pbx.At(loopback.Client, host.Service), host.Spec{Role: bpbkar.Role, Job: 1, Try: 1})
	if err == nil || !errors.Is(err, pbx.ErrUnreachable) {
		t.Errorf("a call to %s, where %s listens: %v", loopback.Client, client2, err)
	}
	j, err := f.Backup(f.ctx, policyName, "disk", nil)
	ok(t, err)
	if j.Status.Succeeded() || j.Detail == "" {
		t.Errorf("a backup of %s, where %s listens, ended with status %d: %s", loopback.Client, client2, j.Status, j.Detail)
	}
	if asked != 1 {
		t.Errorf("the impostor was asked %d times", asked-1)
	}
	stop()
	ok(t, errors.Join(p.Close(), x.Close()))
	ok(t, f.Start(f.ctx, loopback.Client))
	f.nothingLeft(t, nil)
	f.backUpAs(t, policyName, "disk", status.OK)
}
