package ltid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"capstan/core/dev"
	"capstan/core/nbemm"
	"capstan/core/pbx"
	"capstan/core/status"
	"capstan/core/txxcd"
)

// Place is what is known of where a drive stands in its library.
type Place struct {
	Serial  string // by which the robot names it; "" if it has none
	Element int    // its address for the robot; 0 if the serial number tells
}

// takeInventory asks one library's robot what is where and tells nbemm.
func (s *Server) takeInventory(ctx context.Context, q Inventory) error {
	l, elements, err := s.contents(ctx, q.Library)
	if err == nil && q.Rescan {
		if _, err = txxcd.Rescan.Call(ctx, pbx.At(l.Control, txxcd.Service), l.Name); err == nil {
			s.lock.Lock()
			clear(s.spent)
			s.lock.Unlock()
			_, elements, err = s.contents(ctx, q.Library)
		}
	}
	if err != nil {
		return err
	}
	var hello nbemm.Hello
	if err := s.take(&hello, l, elements); err != nil {
		return err
	}
	// Where the drives stand was learnt at the start: one that is elsewhere now was not
	// emptied there.
	hello.Drives = slices.DeleteFunc(hello.Drives, func(d nbemm.Drive) bool { return s.drives[d.Name].element != d.Element })
	_, err = nbemm.SayHello.Call(ctx, pbx.At(s.master, nbemm.Service), hello)
	return err
}

// inventory asks every robot what is where, and learns where the drives stand.
func (s *Server) inventory(ctx context.Context) (nbemm.Hello, error) {
	var hello nbemm.Hello
	for _, l := range s.libraries {
		elements, err := txxcd.Inventory.Call(ctx, pbx.At(l.Control, txxcd.Service), l.Name)
		if err != nil {
			return hello, err
		}
		if err := s.take(&hello, &l, elements); err != nil {
			return hello, err
		}
		for _, name := range l.Drives {
			s.drives[name].element = 0
		}
	}
	for _, d := range hello.Drives {
		s.drives[d.Name].element = d.Element
	}
	return hello, nil
}

// take adds what a robot has told of its elements to a hello.
func (s *Server) take(hello *nbemm.Hello, l *Library, elements []dev.Element) error {
	if err := labelled(l.Name, elements); err != nil {
		return err
	}
	hello.Libraries = append(hello.Libraries, nbemm.Library{Name: l.Name, MediaServer: l.Control})
	slices.SortFunc(elements, func(a, b dev.Element) int { return cmp.Compare(a.Address, b.Address) })
	at, missing, err := places(l, elements)
	if err != nil {
		return err
	}
	for _, m := range missing {
		s.log.Warn("a drive is down", "error", m)
	}
	for _, name := range l.Drives {
		e, ok := at[name]
		if !ok {
			continue
		}
		d := nbemm.Drive{Name: name, Library: l.Name, Element: e.Address}
		if e.Full {
			d.Media = MediaID(e.Barcode)
		}
		hello.Drives = append(hello.Drives, d)
	}
	for _, e := range elements {
		// What is in a mail slot is on its way: out, or in by Import.
		if !e.Full || e.Barcode == "" || e.Kind == dev.ImportExport {
			continue
		}
		m := nbemm.Media{ID: MediaID(e.Barcode), Barcode: e.Barcode, Library: l.Name, Element: e.Address, Density: Density(e.Barcode)}
		if e.Kind == dev.DriveElement {
			m.Element = e.Source
		}
		if Cleaning(e.Barcode) {
			m.Pool = nbemm.CleaningPool
		}
		hello.Media = append(hello.Media, m)
	}
	return nil
}

// labelled refuses a library none of whose cartridges has a barcode: they are known by
// nothing else.
func labelled(library string, elements []dev.Element) error {
	full := 0
	for _, e := range elements {
		if e.Barcode != "" {
			return nil
		}
		if e.Full {
			full++
		}
	}
	if full == 0 {
		return nil
	}
	return status.Errorf(status.MediaRequest, "library %s has %d cartridges and no barcode of any: put labels on them, and use a library that reads them (or take an inventory at its panel)", library, full)
}

// places are the elements of a library's drives, by name. A drive whose element is not
// told is not among them if others are: it is down, and they work.
func places(l *Library, elements []dev.Element) (at map[string]dev.Element, missing []error, _ error) {
	var drives []dev.Element
	for _, e := range elements {
		if e.Kind == dev.DriveElement {
			drives = append(drives, e)
		}
	}
	at = map[string]dev.Element{}
	for n, name := range l.Drives {
		p := l.Places[name]
		var i int
		switch {
		case l.Places == nil:
			i = n
		case p.Element != 0:
			i = slices.IndexFunc(drives, func(e dev.Element) bool { return e.Address == p.Element })
		default:
			i = slices.IndexFunc(drives, func(e dev.Element) bool { return SameSerial(e.Serial, p.Serial) })
		}
		if i < 0 || i >= len(drives) {
			missing = append(missing, lost(l.Name, name, p, drives))
			continue
		}
		if e := drives[i]; p.Serial != "" && e.Serial != "" && !SameSerial(e.Serial, p.Serial) {
			return nil, nil, status.Errorf(status.DrivesDown, "drive %s is configured at element %d of library %s, where the robot says that drive %s stands, not %s: take element out of its configuration", name, e.Address, l.Name, e.Serial, p.Serial)
		}
		at[name] = drives[i]
	}
	if len(at) == 0 && len(missing) > 0 {
		return nil, nil, errors.Join(missing...)
	}
	return at, missing, nil
}

// SameSerial compares serial numbers as robot and drive tell them: some robots leave out
// zeros at the beginning.
func SameSerial(a, b string) bool {
	return a != "" && strings.EqualFold(strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0"))
}

// lost is why a drive's element is not known.
func lost(library, name string, p Place, drives []dev.Element) error {
	var known []string
	for _, e := range drives {
		if e.Serial != "" {
			known = append(known, fmt.Sprintf("%s at %d", e.Serial, e.Address))
		}
	}
	switch {
	case p.Element != 0:
		return status.Errorf(status.DrivesDown, "drive %s: library %s has no drive element %d", name, library, p.Element)
	case len(known) == 0:
		return status.Errorf(status.DrivesDown, "drive %s: library %s tells no serial numbers of its drives: give the drive's element in its configuration", name, library)
	}
	return status.Errorf(status.DrivesDown, "drive %s: library %s has no drive with serial number %s; it has %s", name, library, p.Serial, strings.Join(known, ", "))
}
