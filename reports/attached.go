package reports

import (
	"fmt"
	"io"
	"strings"
)

// Attached is a row of the list of tape drives and robots that are attached to a host.
type Attached struct {
	Path     string   `json:"path"` // the generic device
	Tape     string   `json:"tape,omitempty"`
	Kind     string   `json:"kind"` // drive or changer
	Vendor   string   `json:"vendor"`
	Product  string   `json:"product"`
	Revision string   `json:"revision"`
	Serial   string   `json:"serial"`
	Name     string   `json:"name,omitempty"`    // in the host's configuration
	Library  string   `json:"library,omitempty"` // the serial number of the robot that serves it
	Element  int      `json:"element,omitempty"`
	Loaded   string   `json:"loaded,omitempty"` // the barcode in a drive, or the numbers of a library's places
	Problems []string `json:"problems,omitempty"`
}

// WriteAttached writes the devices, and below the table what is to be looked at.
func WriteAttached(w io.Writer, rows []Attached, o Options) error {
	if o.JSON {
		return writeJSON(w, rows)
	}
	t := newTable(left("DEVICE"), left("TAPE"), left("KIND"), left("VENDOR"), left("PRODUCT"), left("REV"), left("SERIAL"), left("NAME"),
		left("LIBRARY"), right("ELEMENT"), left("LOADED"))
	for i := range rows {
		r := &rows[i]
		t.row(r.Path, r.Tape, r.Kind, r.Vendor, r.Product, r.Revision, r.Serial, r.Name, r.Library, plainID(int64(r.Element)), r.Loaded)
	}
	if err := t.write(w, o.Color); err != nil {
		return err
	}
	for i := range rows {
		for _, p := range rows[i].Problems {
			if _, err := fmt.Fprintf(w, "%s: %s\n", rows[i].Path, strings.TrimSpace(p)); err != nil {
				return err
			}
		}
	}
	return nil
}
