package ltid

import (
	"context"
	"slices"

	"capstan/core/dev"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/core/txxcd"
)

// Cartridge names a cartridge of a library by its media id.
type Cartridge struct {
	Library string `json:"library"`
	Media   string `json:"media"`
}

// The methods by which cartridges go through the mail slots.
var (
	// Export puts a cartridge into a free mail slot, for a person to take out; the
	// answer is the slot's element address.
	Export = pbx.Declare[Cartridge, int](Service, "Export", pbx.Master|pbx.Media|pbx.User)
	// Import takes what a person put into the mail slots into free slots; the answer
	// is the cartridges' barcodes.
	Import = pbx.Declare[string, []string](Service, "Import", pbx.Master|pbx.Media|pbx.User)
)

// export is the work of [Export].
func (s *Server) export(ctx context.Context, q Cartridge) (int, error) {
	l, elements, err := s.contents(ctx, q.Library)
	if err != nil {
		return 0, err
	}
	named := func(e dev.Element) bool { return e.Full && e.Barcode != "" && MediaID(e.Barcode) == q.Media }
	from := slices.IndexFunc(elements, named)
	if from >= 0 && elements[from].Kind == dev.DriveElement { // it may just stay there
		server, err := s.serverOf(ctx, q.Media)
		if err == nil {
			err = s.freeElsewhere(ctx, Mount{Barcode: elements[from].Barcode, From: server})
		}
		if err != nil {
			return 0, err
		}
		if _, elements, err = s.contents(ctx, q.Library); err != nil {
			return 0, err
		}
		from = slices.IndexFunc(elements, named)
	}
	to := slices.IndexFunc(elements, func(e dev.Element) bool { return e.Kind == dev.ImportExport && !e.Full && e.Problem == "" })
	switch {
	case from < 0:
		return 0, status.Errorf(status.MediaMisplaced, "cartridge %s is not in library %s", q.Media, q.Library)
	case elements[from].Kind == dev.ImportExport:
		return elements[from].Address, nil // it is there already
	case elements[from].Kind == dev.DriveElement:
		return 0, status.Errorf(status.MediaInUse, "cartridge %s is in the drive at element %d: wait until its job has ended", q.Media, elements[from].Address)
	case to < 0:
		return 0, status.Errorf(status.MediaRequest, "library %s has no mail slot that is free and closed: empty one", q.Library)
	}
	if err := s.carry(ctx, l, elements[from].Address, elements[to].Address); err != nil {
		return 0, err
	}
	return elements[to].Address, s.takeInventory(ctx, Inventory{Library: q.Library})
}

// serverOf is the media server that has a cartridge in one of its drives; "" is none.
func (s *Server) serverOf(ctx context.Context, mediaID string) (string, error) {
	list, err := nbemm.Show.Call(ctx, pbx.At(s.master, nbemm.Service), struct{}{})
	if err != nil {
		return "", err
	}
	for _, d := range list.Drives {
		if d.Media == mediaID {
			return d.MediaServer, nil
		}
	}
	return "", nil
}

// importAll is the work of [Import].
func (s *Server) importAll(ctx context.Context, library string) (taken []string, err error) {
	l, elements, err := s.contents(ctx, library)
	if err != nil {
		return nil, err
	}
	free := room(elements)
	for _, e := range elements {
		if e.Kind != dev.ImportExport || !e.Full {
			continue
		}
		if len(free) == 0 {
			err = status.Errorf(status.MediaRequest, "library %s has no free slot for what is in mail slot %d, beside those of the cartridges in its drives: take a cartridge out", library, e.Address)
			break
		}
		if err = s.carry(ctx, l, e.Address, free[0]); err != nil {
			break
		}
		taken, free = append(taken, e.Barcode), free[1:]
	}
	if ierr := s.takeInventory(ctx, Inventory{Library: library}); err == nil {
		err = ierr
	}
	return taken, err
}

// room are the free slots that cartridges can be put into for good: one is kept for each
// cartridge in a drive, its own if that is free, or the drive could not be emptied.
func room(elements []dev.Element) []int {
	var free []int
	for _, e := range elements {
		if e.Kind == dev.Slot && !e.Full && e.Problem == "" {
			free = append(free, e.Address)
		}
	}
	homeless := 0
	for _, e := range elements {
		if e.Kind != dev.DriveElement || !e.Full {
			continue
		}
		if i := slices.Index(free, e.Source); i >= 0 {
			free = slices.Delete(free, i, i+1)
		} else {
			homeless++
		}
	}
	return free[:max(len(free)-homeless, 0)]
}

// contents are the elements of one of this host's libraries, when the drives are in order.
func (s *Server) contents(ctx context.Context, library string) (*Library, []dev.Element, error) {
	i := slices.IndexFunc(s.libraries, func(l Library) bool { return l.Name == library })
	if i < 0 {
		return nil, nil, status.Errorf(status.BadParameter, "host %s has no library %s", s.host, library)
	}
	if err := s.awaitBegun(ctx); err != nil {
		return nil, nil, err
	}
	l := &s.libraries[i]
	elements, err := txxcd.Inventory.Call(ctx, pbx.At(l.Control, txxcd.Service), l.Name)
	return l, elements, err
}

func (s *Server) carry(ctx context.Context, l *Library, from, to int) error {
	_, err := txxcd.MoveMedium.Call(ctx, pbx.At(l.Control, txxcd.Service), txxcd.Move{Library: l.Name, From: from, To: to})
	return err
}
