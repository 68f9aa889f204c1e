// Package bprd is the request daemon: it takes requests for restores, and for
// imports of images from media into the catalog, and leads them.
//
// R1: a request arrives. R2: it asks bpdbm for the images and where they lie,
// and for tape writes the neededimage file. R3: it tells bpjobd. R4: for tape it
// starts a child, which reads that file; for disk it does all itself. R5: the
// child, or bprd, starts bpbrm on the media server. R17: bpbrm reports, the file
// is removed, and the status recorded.
//
// An import takes a restore's steps but for R2, R4, R8, R13 and R14: its bptm reads
// headers and trailers, and bprd has bpdbm rebuild the images from them.
package bprd

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"capstan/core/archive"
	"capstan/core/bpbrm"
	"capstan/core/bpdbm"
	"capstan/core/bpjobd"
	"capstan/core/bptm"
	"capstan/core/catalog"
	"capstan/core/host"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/nbjm"
	"capstan/core/pbx"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/store"
	"capstan/core/tar"
	"capstan/core/trace"
)

// Service is the role's name on the master; Role that of its child.
const (
	Service = "bprd"
	Role    = "bprd"
)

// Request asks for a restore. Its job's number comes from bpjobd.
type Request struct {
	Job       int64        `json:"job"`
	Client    string       `json:"client"`              // whose backup
	To        string       `json:"to,omitempty"`        // the client that receives; "" is the same
	Paths     []string     `json:"paths,omitempty"`     // files, directories, globs; none is everything
	Before    rt.Time      `json:"before,omitempty"`    // as of this time; 0 is the newest
	Policy    string       `json:"policy,omitempty"`    // of this policy's images only
	Image     string       `json:"image,omitempty"`     // of this image only
	Parts     []Part       `json:"parts,omitempty"`     // instead of all of these: files of several images
	Target    string       `json:"target,omitempty"`    // directory that takes the place of StripTo; "" is the original place
	StripTo   string       `json:"stripTo,omitempty"`   // "" is "/"
	Overwrite archive.Mode `json:"overwrite,omitempty"` // of files that exist
	Volatile  bool         `json:"volatile,omitempty"`  // see archive.WriteOptions
}

// Part is paths of exactly one image. They are taken literally: none is a glob.
type Part struct {
	Image string   `json:"image"`
	Paths []string `json:"paths"`
}

// CancelJob asks to end a restore.
type CancelJob struct {
	Job int64 `json:"job"`
}

// The methods of bprd.
var (
	// NewID draws the number of a restore's job, for who asks for it alone.
	NewID   = pbx.Declare[struct{}, int64](Service, "NewID", pbx.Master|pbx.Client|pbx.User)
	Restore = pbx.Declare[Request, struct{}](Service, "Restore", pbx.Master|pbx.Client|pbx.User, pbx.Step("", "R1"))
	Import  = pbx.Declare[ImportRequest, struct{}](Service, "Import", pbx.Master|pbx.User, pbx.Step("", "R1"))
	Cancel  = pbx.Declare[CancelJob, struct{}](Service, "Cancel", pbx.Master|pbx.User)
)

// Needed is what a restore needs: the contents of the neededimage file.
type Needed struct {
	Job     int64         `json:"job"`
	Request Request       `json:"request"`
	Media   []string      `json:"media"` // required, in the order in which they are read
	Server  string        `json:"server"`
	Images  []NeededImage `json:"images"` // oldest first
	Files   int64         `json:"files"`
	Bytes   int64         `json:"bytes"`
	// As names members otherwise: see archive.WriteOptions.
	As map[string]string `json:"as,omitempty"`
}

// NeededImage is one image of a restore, and what of it is needed.
type NeededImage struct {
	BackupID  string           `json:"backupId"`
	Fragments []image.Fragment `json:"fragments"`
	Ranges    []bpdbm.Range    `json:"ranges"`
	Hollow    []catalog.Entry  `json:"hollow,omitempty"`
	AnyOrder  bool             `json:"anyOrder,omitempty"` // see [bpdbm.Selected]
}

// onTape tells whether any of it lies on tape.
func (n *Needed) onTape() bool { return len(n.Media) > 0 }

// Server is the role.
type Server struct {
	env   *host.Env
	epoch uint64
	dir   store.Dir // for neededimage files
	lock  rt.Lock
	live  map[int64]*led // led by this very process
	stops map[int64]*rt.Event
	drawn map[int64]string // numbers of jobs to come, and who drew them
}

// New makes the role. It removes neededimage files that a crash has left.
func New(ctx context.Context, env *host.Env, epoch uint64, dir store.Dir) (*Server, error) {
	s := &Server{
		env: env, epoch: epoch, dir: dir, lock: rt.NewLock(ctx),
		live: map[int64]*led{}, stops: map[int64]*rt.Event{}, drawn: map[int64]string{},
	}
	names, err := dir.List(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("neededimage files: %w", err)
	}
	for _, n := range names {
		if err := dir.Remove(ctx, n); err != nil {
			return nil, fmt.Errorf("neededimage file %s: %w", n, err)
		}
	}
	return s, nil
}

// Mux is what the role answers. What a job's own processes ask is answered here
// for a restore from disk; for tape the child does.
func (s *Server) Mux(ctx context.Context) *pbx.Mux {
	mux := pbx.NewMux(ctx, Role, s.epoch)
	pbx.Handle(mux, NewID, s.newID)
	pbx.Handle(mux, Restore, s.request)
	pbx.Handle(mux, Import, s.requestImport)
	s.handleImport(mux)
	pbx.Handle(mux, Cancel, func(_ context.Context, _ pbx.Peer, q CancelJob) (struct{}, error) {
		s.lock.Lock()
		stop := s.stops[q.Job]
		s.lock.Unlock()
		if stop == nil {
			return struct{}{}, status.Errorf(status.NotFound, "no restore or import job %d runs", q.Job)
		}
		stop.Set()
		return struct{}{}, nil
	})
	handleProcesses(mux, func(ctx context.Context) (*led, error) {
		s.lock.Lock()
		r := s.live[trace.JobOf(ctx).ID]
		s.lock.Unlock()
		if r == nil {
			return nil, status.Errorf(status.NotFound, "job %d is not led by bprd itself", trace.JobOf(ctx).ID)
		}
		return r, nil
	})
	return mux
}

// maxDrawn bounds the numbers that were drawn and not used.
const maxDrawn = 10_000

func (s *Server) newID(ctx context.Context, from pbx.Peer, _ struct{}) (int64, error) {
	id, err := bpjobd.NewID.Call(ctx, s.at(bpjobd.Service), struct{}{})
	if err != nil {
		return 0, err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if len(s.drawn) >= maxDrawn {
		clear(s.drawn) // whoever waits so long draws again
	}
	s.drawn[id] = from.Identity.String()
	return id, nil
}

// request is R1: it checks the right to ask, and answers before the work begins.
func (s *Server) request(ctx context.Context, from pbx.Peer, q Request) (struct{}, error) {
	q.To = cmp.Or(q.To, q.Client)
	if q.Client == "" || q.Job <= 0 {
		return struct{}{}, status.Errorf(status.BadParameter, "a restore needs a client and a job number")
	}
	if !from.Is(pbx.Master|pbx.User) && (q.Client != from.Name || q.To != from.Name) {
		return struct{}{}, status.Errorf(status.ClientNotAllowed, "%s may only restore its own files, to itself", from)
	}
	return struct{}{}, s.begin(ctx, from, q.Job, func(ctx context.Context, owner string) { s.lead(ctx, q, owner) })
}

// begin has a job led, after the reply to who asked for it, which must have drawn its
// number.
func (s *Server) begin(ctx context.Context, from pbx.Peer, id int64, lead func(ctx context.Context, owner string)) error {
	owner := from.Identity.String()
	s.lock.Lock()
	own := s.drawn[id] == owner
	if own {
		delete(s.drawn, id)
		s.stops[id] = rt.NewEvent(ctx)
	}
	s.lock.Unlock()
	if !own {
		return status.Errorf(status.BadParameter, "job number %d was not drawn by %s: ask for one first", id, from)
	}
	jctx := trace.WithJob(rt.WithoutCancel(ctx), trace.Job{ID: id, Try: 1, Restore: true})
	pbx.AfterReply(ctx, func() { rt.Go(jctx, "restore", func(ctx context.Context) { lead(ctx, owner) }) })
	return nil
}

// lead is R2 to R17 of one restore.
func (s *Server) lead(ctx context.Context, q Request, owner string) {
	groups, notes, err := s.identify(ctx, &q) // R2
	j := job.Job{
		ID: q.Job, Type: job.Restore, State: job.Active, Try: 1, Client: q.Client, To: q.To, Policy: q.Policy, Owner: owner,
		Priority: job.RestorePriority,
	}
	for i := range groups {
		j.Expected += groups[i].Bytes
	}
	if _, aerr := bpjobd.Add.Call(ctx, s.at(bpjobd.Service), bpjobd.Added{Job: j, Say: notes, Role: Service}); aerr != nil { // R3
		err = cmp.Or(err, aerr)
	}
	total := bpbrm.Finished{}
	for i := 0; i < len(groups) && err == nil; i++ {
		var f bpbrm.Finished
		f, err = s.run(ctx, &groups[i])
		total.Files += f.Files
		total.Bytes += f.Bytes
		if f.Status != status.OK {
			total.Status, total.Detail = f.Status, f.Detail
		}
		if !f.Status.Succeeded() {
			break
		}
	}
	if err != nil {
		total.Status, total.Detail = status.Of(err, status.RestoreFailed), status.Detail(err)
	}
	_, lerr := bpdbm.LetGo.Call(ctx, s.at(bpdbm.Service), struct{}{})
	_ = lerr                                // bpdbm runs in this very process
	s.finish(ctx, q.Job, "restore", &total) // R17
}

// finish records how a job ended.
func (s *Server) finish(ctx context.Context, id int64, what string, f *bpbrm.Finished) {
	s.lock.Lock()
	delete(s.stops, id)
	s.lock.Unlock()
	_, err := bpjobd.Finish.Call(ctx, s.at(bpjobd.Service), bpjobd.Update{
		ID: id, State: job.Completed, Status: f.Status, Detail: f.Detail, Bytes: f.Bytes, Files: f.Files,
		Say: []string{fmt.Sprintf("end of %s: status %d, %s", what, f.Status, f.Status.Message())}, Role: Service,
	})
	_ = err // bpjobd runs in this very process
}

func (s *Server) at(service string) pbx.Addr { return pbx.At(s.env.Host, service) }

// identify is R2: which images, which parts of them, where they lie. Images on
// several media servers, or on tape and on disk, make several groups, to be
// restored one after the other. What the policy of the newest image does not
// hold is looked for in those of the client's other policies.
func (s *Server) identify(ctx context.Context, q *Request) (groups []Needed, notes []string, err error) {
	if len(q.Parts) > 0 {
		groups, err := s.identifyParts(ctx, q)
		return groups, nil, err
	}
	chains, err := s.chains(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	missing := q.Paths
	var looked []string
	for i, chain := range chains {
		if i > 0 && len(missing) == 0 {
			notes = append(notes, "images of policy "+chain[0].Policy+" were not looked at: all paths are in those of newer ones")
			continue
		}
		wanted := *q
		wanted.Paths = missing
		before := len(missing)
		if groups, missing, err = s.identifyIn(ctx, &wanted, chain, groups); err != nil {
			return nil, nil, err
		}
		looked = append(looked, chain[len(chain)-1].ID)
		if len(missing) == before && before > 0 {
			continue // nothing of it was used
		}
		if chain[0].Type != string(policy.Full) && q.Image == "" {
			notes = append(notes, "there is no full backup before "+chain[0].ID+": what had not changed by then is not restored")
		}
		notes = append(notes, gaps(chain)...)
	}
	if len(missing) > 0 {
		return nil, nil, s.lacking(ctx, q, missing[0], looked)
	}
	if len(groups) == 0 {
		return nil, nil, status.Errorf(status.NoImage, "the images of %s hold nothing of it", q.Client)
	}
	return groups, notes, nil
}

// identifyParts is R2 of a request that says itself which image each file is of.
func (s *Server) identifyParts(ctx context.Context, q *Request) (groups []Needed, err error) {
	for i, p := range q.Parts {
		one := *q
		one.Parts, one.Image, one.Policy, one.Before, one.Paths = q.Parts[i:i+1], p.Image, "", 0, p.Paths
		if len(p.Paths) == 0 || p.Image == "" {
			return nil, status.Errorf(status.BadParameter, "a part of a restore needs an image and paths")
		}
		chains, err := s.chains(ctx, &one)
		if err != nil {
			return nil, err
		}
		var missing []string
		if groups, missing, err = s.identifyIn(ctx, &one, chains[0], groups); err != nil {
			return nil, err
		}
		if len(missing) > 0 {
			return nil, status.Errorf(status.NotAllRestored, "%s is not in image %s", missing[0], p.Image)
		}
	}
	if len(groups) == 0 {
		return nil, status.Errorf(status.NoImage, "the images of %s hold nothing of it", q.Client)
	}
	return groups, nil
}

// identifyIn adds what one chain has of the paths; missing are those of which it
// has nothing.
func (s *Server) identifyIn(ctx context.Context, q *Request, chain []image.Header, groups []Needed) (_ []Needed, missing []string, err error) {
	lack := map[string]int{}
	for i := range chain {
		h := &chain[i]
		later := make([]string, 0, len(chain)-i-1)
		for _, l := range chain[i+1:] {
			later = append(later, l.ID)
		}
		n, sel, err := s.needed(ctx, q, h, later)
		if err != nil {
			return nil, nil, err
		}
		for _, m := range sel.Missing {
			lack[m]++
		}
		if len(n.Ranges) > 0 {
			groups = add(groups, q, n, sel)
		}
	}
	for _, p := range q.Paths {
		if lack[p] >= len(chain) { // more if it was asked for twice
			missing = append(missing, p)
		}
	}
	return groups, missing, nil
}

// gaps says where an incremental of a chain builds on an image that has expired:
// what had changed only then is restored as it was before.
func gaps(chain []image.Header) (notes []string) {
	for i := 1; i < len(chain); i++ {
		h := &chain[i]
		if h.Since != 0 && !slices.ContainsFunc(chain[:i], func(o image.Header) bool { return o.Began == h.Since }) {
			notes = append(notes, "the backup that "+h.ID+" builds on has expired: what had changed only then is restored as it was before")
		}
	}
	return notes
}

// chains are the images that together show the client at the time asked for: of
// each policy the newest full backup and the incrementals after it. The policy
// that has the newest image comes first.
func (s *Server) chains(ctx context.Context, q *Request) ([][]image.Header, error) {
	all, err := s.images(ctx, q)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, status.Errorf(status.NoImage, "client %s has no image that matches", q.Client)
	}
	if q.Image != "" {
		return [][]image.Header{all}, nil
	}
	return image.Chains(all), nil
}

// images are those that a request is about, oldest first.
func (s *Server) images(ctx context.Context, q *Request) (all []image.Header, err error) {
	query := bpdbm.Query{Client: q.Client, Policy: q.Policy, BackupID: q.Image}
	if q.Before != 0 {
		query.Before = q.Before.Unix()
	}
	for {
		p, err := bpdbm.Images.Call(ctx, s.at(bpdbm.Service), query)
		if err != nil {
			return nil, err
		}
		all = append(all, p.Images...)
		if !p.More {
			return all, nil
		}
		query.After = all[len(all)-1].ID
	}
}

func (s *Server) needed(ctx context.Context, q *Request, h *image.Header, later []string) (n NeededImage, all bpdbm.Selected, err error) {
	all.As = map[string]string{}
	for more := true; more; {
		p, err := bpdbm.Select.Call(ctx, s.at(bpdbm.Service), bpdbm.Selection{
			BackupID: h.ID, Paths: q.Paths, Literal: len(q.Parts) > 0, Later: later,
			From: len(all.Ranges), FromAs: len(all.As), FromHollow: len(all.Hollow), FromMissing: len(all.Missing),
		})
		if err != nil {
			return n, all, err
		}
		maps.Copy(all.As, p.As)
		all.Ranges = append(all.Ranges, p.Ranges...)
		all.Hollow = append(all.Hollow, p.Hollow...)
		all.Missing = append(all.Missing, p.Missing...)
		all.Files, all.Bytes, all.AnyOrder, more = p.Files, p.Bytes, p.AnyOrder, p.More
	}
	n = NeededImage{BackupID: h.ID, Ranges: all.Ranges, Hollow: all.Hollow, AnyOrder: all.AnyOrder}
	for _, f := range h.Fragments {
		if f.Copy == 1 && overlaps(f, n.Ranges) {
			n.Fragments = append(n.Fragments, f)
		}
	}
	return n, all, nil
}

// overlaps tells whether a fragment holds a part of ranges, which are sorted.
func overlaps(f image.Fragment, ranges []bpdbm.Range) bool {
	i, _ := slices.BinarySearchFunc(ranges, f.Offset, func(r bpdbm.Range, at int64) int {
		if r.Offset+r.Length <= at {
			return -1
		}
		return 1
	})
	return i < len(ranges) && ranges[i].Offset < f.Offset+f.Length
}

// add puts an image into the last group if it lies where that group's do, else
// into a new one. One of which a member is to have another name has a group of its
// own: in another image that name is another file's.
func add(groups []Needed, q *Request, n NeededImage, sel bpdbm.Selected) []Needed {
	server, tape := n.Fragments[0].MediaServer, n.Fragments[0].OnTape()
	if k := len(groups) - 1; k < 0 || groups[k].Server != server || groups[k].onTape() != tape || len(groups[k].As)+len(sel.As) > 0 {
		groups = append(groups, Needed{Job: q.Job, Request: *q, Server: server, As: sel.As})
	}
	g := &groups[len(groups)-1]
	g.Images = append(g.Images, n)
	g.Files += sel.Files
	g.Bytes += sel.Bytes
	for _, f := range n.Fragments {
		if tape && !slices.Contains(g.Media, f.Media) {
			g.Media = append(g.Media, f.Media)
		}
	}
	return groups
}

// run is R4 to R17 of one group.
func (s *Server) run(ctx context.Context, n *Needed) (bpbrm.Finished, error) {
	s.lock.Lock()
	stop := s.stops[n.Job]
	s.lock.Unlock()
	var f bpbrm.Finished
	var err error
	if n.onTape() {
		f, err = s.byChild(ctx, n, stop)
	} else {
		trace.Note(ctx, "R4", "no child for disk", "")
		f, err = s.byItself(ctx, n.Job, newRestore(ctx, s.env, s.at(Service), s.epoch, n, stop))
	}
	n.missed(&f)
	return f, cmp.Or(err, s.endProcesses(ctx, n.Server, n.Request.To))
}

// missed compares what was restored with what was to be: what tar did not meet it cannot
// have told of.
func (n *Needed) missed(f *bpbrm.Finished) {
	if f.Status == status.OK && f.Files < n.Files {
		f.Status, f.Detail = status.Partial, fmt.Sprintf("%d files were to be restored, and %d were", n.Files, f.Files)
	}
}

// byItself leads a restore from disk, or an import, without a child.
func (s *Server) byItself(ctx context.Context, id int64, r *led) (bpbrm.Finished, error) {
	s.lock.Lock()
	s.live[id] = r
	s.lock.Unlock()
	f, err := r.run(ctx)
	s.lock.Lock()
	delete(s.live, id)
	s.lock.Unlock()
	return f, err
}

// endProcesses ends what still runs of a job on hosts, and gives back what it has.
func (s *Server) endProcesses(ctx context.Context, hosts ...string) error {
	_, err := nbjm.EndRestore.Call(ctx, s.at(nbjm.Service), nbjm.RestoreEnded{Hosts: hosts})
	return err
}

// byChild has a child lead the restore from tape. The child removes the
// neededimage file at its end; if it is killed, that is left to bprd.
func (s *Server) byChild(ctx context.Context, n *Needed, stop *rt.Event) (bpbrm.Finished, error) {
	name := neededName(n.Job)
	if err := writeNeeded(ctx, s.dir, name, n); err != nil { // still R2
		return bpbrm.Finished{}, status.Errorf(status.FileWrite, "neededimage file: %w", err)
	}
	defer func() {
		err := removeNeeded(ctx, s.dir, name)
		_ = err // there is none, as it should be
	}()
	child, err := host.StartOn(ctx, "R4", s.env.Host, Role, 0, s.epoch, ChildArgs{Needed: name, Epoch: s.epoch})
	if err != nil {
		return bpbrm.Finished{}, status.Errorf(status.SystemCall, "child of bprd: %w", err)
	}
	if _, err := childGo.Call(ctx, child, struct{}{}); err != nil {
		return bpbrm.Finished{}, err
	}
	cctx, cancel := rt.WithCancel(ctx)
	defer cancel(nil)
	rt.Go(cctx, "cancel restore", func(ctx context.Context) {
		if stop.Wait(ctx) == nil {
			_, err := childStop.Call(ctx, child, struct{}{})
			_ = err // it has ended meanwhile
		}
	})
	exit, err := host.Await(ctx, child)
	switch {
	case err != nil:
		return bpbrm.Finished{}, err
	case exit.Killed:
		return bpbrm.Finished{}, status.Errorf(status.ClientAborted, "the child of bprd %s", exit.Death())
	case exit.Code != 0:
		return bpbrm.Finished{}, status.Errorf(status.Code(exit.Code), "%s", exit.Detail)
	}
	f, err := host.ReadBody[bpbrm.Finished](exit.Result)
	if err != nil {
		return f, status.Errorf(status.SystemError, "result of bprd's child: %w", err)
	}
	return f, nil
}

// handleProcesses registers what a restore's processes ask of who leads it.
func handleProcesses(mux *pbx.Mux, find func(ctx context.Context) (*led, error)) {
	pbx.Handle(mux, bptm.AskNeeded, func(ctx context.Context, from pbx.Peer, q bptm.NeededQuery) (bptm.Needed, error) {
		r, err := find(ctx)
		if err != nil {
			return bptm.Needed{}, err
		}
		return r.page(ctx, from, q)
	})
	pbx.Handle(mux, tar.AskNames, func(ctx context.Context, from pbx.Peer, q tar.NamesQuery) (tar.Names, error) {
		r, err := find(ctx)
		if err != nil {
			return tar.Names{}, err
		}
		return r.otherNames(ctx, from, q)
	})
	pbx.Handle(mux, bpbrm.Report, func(ctx context.Context, from pbx.Peer, f bpbrm.Finished) (struct{}, error) {
		r, err := find(ctx)
		if err == nil {
			err = r.report(ctx, from, f)
		}
		return struct{}{}, err
	})
	pbx.Handle(mux, host.AttendMethod, func(ctx context.Context, _ pbx.Peer, _ struct{}) (bool, error) {
		r, err := find(ctx)
		if err != nil {
			return false, err
		}
		return host.WaitStop(ctx, r.stop), nil
	})
}
