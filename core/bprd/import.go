package bprd

import (
	"cmp"
	"context"
	"slices"
	"time"

	"capstan/core/bpbrm"
	"capstan/core/bpjobd"
	"capstan/core/bptm"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
)

// ImportRequest asks for images to be read back into the catalog from the media on
// which they stand: after its database was lost, or from another domain. Its job's
// number comes from [NewID].
type ImportRequest struct {
	Job     int64    `json:"job"`
	Media   []string `json:"media,omitempty"`   // cartridges, by media id or barcode
	Storage string   `json:"storage,omitempty"` // or a disk unit
	DryRun  bool     `json:"dryRun,omitempty"`  // only say what there is
	Verify  bool     `json:"verify,omitempty"`  // read every block and compare it with its CRC
	// Retention is how long each image is kept from now on; 0 is as long as its own
	// retention says, less than 0 is for ever.
	Retention time.Duration `json:"retention,omitempty"`
}

func (s *Server) requestImport(ctx context.Context, from pbx.Peer, q ImportRequest) (struct{}, error) {
	if q.Job <= 0 || (len(q.Media) == 0) == (q.Storage == "") {
		return struct{}{}, status.Errorf(status.BadParameter, "an import needs a job number, and either cartridges or a disk unit")
	}
	return struct{}{}, s.begin(ctx, from, q.Job, func(ctx context.Context, owner string) { s.leadImport(ctx, &q, owner) })
}

// leadImport leads one import.
func (s *Server) leadImport(ctx context.Context, q *ImportRequest, owner string) {
	server, volumes, err := s.volumes(ctx, q)
	j := job.Job{
		ID: q.Job, Type: job.Import, State: job.Active, Try: 1, Owner: owner, Priority: job.RestorePriority, StorageUnit: q.Storage,
	}
	if _, aerr := bpjobd.Add.Call(ctx, s.at(bpjobd.Service), j); aerr != nil { // R3
		err = cmp.Or(err, aerr)
	}
	var f bpbrm.Finished
	if err == nil {
		s.lock.Lock()
		stop := s.stops[q.Job]
		s.lock.Unlock()
		r := newLed(ctx, s.env, s.at(Service), s.epoch, server, stop)
		r.reads, r.args.Import = newReading(ctx, s.env.Host, q, volumes), true
		f, err = s.byItself(ctx, q.Job, r)
		err = cmp.Or(err, s.endProcesses(ctx, server))
		f = r.reads.finish(ctx, f, err)
	} else {
		f = bpbrm.Finished{Status: status.Of(err, status.ImportImpossible), Detail: status.Detail(err)}
	}
	s.finish(ctx, q.Job, "import", &f) // R17
}

// volumes are what an import reads, and the media server that does.
func (s *Server) volumes(ctx context.Context, q *ImportRequest) (server string, vs []*volume, err error) {
	known, err := nbemm.Show.Call(ctx, s.at(nbemm.Service), struct{}{})
	if err != nil {
		return "", nil, err
	}
	if q.Storage != "" {
		i := slices.IndexFunc(known.Units, func(u nbemm.StorageUnit) bool { return u.Name == q.Storage })
		if i < 0 || known.Units[i].Kind != nbemm.Disk {
			return "", nil, status.Errorf(status.NoStorageUnit, "there is no disk unit %q; of tape, name the cartridges", q.Storage)
		}
		u := &known.Units[i]
		return u.MediaServer, []*volume{{Volume: bptm.Volume{Storage: u.Name, Path: u.Path, Verify: q.Verify}}}, nil
	}
	for _, name := range q.Media {
		i := slices.IndexFunc(known.Media, func(m nbemm.Media) bool { return m.ID == name || m.Barcode == name })
		if i < 0 {
			return "", nil, status.Errorf(status.MediaNotDefined, "cartridge %s is not known: put it into a library and take an inventory", name)
		}
		m := &known.Media[i]
		on, unit, err := reader(&known, m)
		switch {
		case err != nil:
			return "", nil, err
		case server != "" && on != server:
			return "", nil, status.Errorf(status.ImportImpossible, "cartridge %s is in a library of %s, others are in one of %s: import what each has by itself", m.ID, on, server)
		case slices.ContainsFunc(vs, func(v *volume) bool { return v.Media == m.ID }):
			continue
		}
		server = on
		vs = append(vs, &volume{Volume: bptm.Volume{Storage: unit, Media: m.ID, Verify: q.Verify}})
	}
	return server, vs, nil
}

// reader finds the media server that can read a cartridge, and the name of a storage
// unit that stands for the library's drives.
func reader(known *nbemm.List, m *nbemm.Media) (server, unit string, err error) {
	switch {
	case m.Library == "":
		return "", "", status.Errorf(status.MediaMisplaced, "cartridge %s is in no library: put it back and take an inventory", m.ID)
	case m.Pool == nbemm.CleaningPool:
		return "", "", status.Errorf(status.ImportImpossible, "cartridge %s is a cleaning cartridge", m.ID)
	}
	drives := func(server string) func(d nbemm.DriveState) bool {
		return func(d nbemm.DriveState) bool {
			return d.Library == m.Library && (server == "" || d.MediaServer == server)
		}
	}
	i := slices.IndexFunc(known.Drives, drives(""))
	if i < 0 {
		return "", "", status.Errorf(status.DrivesDown, "library %s has no drive that is known", m.Library)
	}
	for _, u := range known.Units {
		if u.Kind == nbemm.Tape && u.Library == m.Library && slices.ContainsFunc(known.Drives, drives(u.MediaServer)) {
			return u.MediaServer, u.Name, nil
		}
	}
	return known.Drives[i].MediaServer, m.Library, nil
}

// handleImport registers what an import's bptm says.
func (s *Server) handleImport(mux *pbx.Mux) {
	handleReading(s, mux, bptm.NextVolume, (*reading).next)
	handleReading(s, mux, bptm.SayLabel, (*reading).opened)
	handleReading(s, mux, bptm.SayFound, (*reading).found)
	handleReading(s, mux, bptm.SayFiles, (*reading).filled)
	handleReading(s, mux, bptm.SayStands, (*reading).stands)
	handleReading(s, mux, bptm.SayTrouble, (*reading).trouble)
}

// handleReading has fn answer a method for the import of the call's job, one call at a
// time; the answer's work is done whether or not the caller still waits.
func handleReading[Q, P any](s *Server, mux *pbx.Mux, m *pbx.Method[Q, P], fn func(r *reading, ctx context.Context, q Q) (P, error)) {
	pbx.Handle(mux, m, func(ctx context.Context, from pbx.Peer, q Q) (P, error) {
		var none P
		r, err := s.readingOf(ctx, from)
		if err != nil {
			return none, err
		}
		ctx = rt.WithoutCancel(ctx)
		if err := r.turn.Acquire(ctx); err != nil {
			return none, err
		}
		defer r.turn.Release()
		if r.over.IsSet() || r.at < 0 && m.Name() != bptm.NextVolume.Name() {
			return none, status.Errorf(status.Inconsistent, "the import reads no volume")
		}
		return fn(r, ctx, q)
	})
}
