package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Image is a row of the list of images.
type Image struct {
	BackupID  string    `json:"backupId"`
	Client    string    `json:"client"`
	Policy    string    `json:"policy"`
	Schedule  string    `json:"schedule,omitempty"`
	Type      string    `json:"type"` // full, differential …
	Time      time.Time `json:"time"`
	Expires   time.Time `json:"expires,omitzero"`
	Bytes     int64     `json:"bytes"`
	Files     int64     `json:"files"`
	Copies    int       `json:"copies"`
	Fragments int       `json:"fragments"` // of the first copy
	Where     []string  `json:"where"`     // media, or the disk storage unit
}

// WriteImages writes the images.
func WriteImages(w io.Writer, rows []Image, o Options) error {
	if o.JSON {
		return writeJSON(w, rows)
	}
	t := newTable(left("BACKUP ID"), left("CLIENT"), left("POLICY"), left("TYPE"), left("TIME"), left("EXPIRES"),
		right("SIZE"), right("FILES"), right("COPIES"), right("FRAGMENTS"), left("ON"))
	for i := range rows {
		m := &rows[i]
		t.row(m.BackupID, m.Client, m.Policy, m.Type, o.time(m.Time, toSecond), o.time(m.Expires, toMinute),
			Size(m.Bytes), Count(m.Files), strconv.Itoa(m.Copies), strconv.Itoa(m.Fragments), strings.Join(m.Where, ","))
	}
	return t.write(w, o.Color)
}

// File is a row of the list of an image's files.
type File struct {
	Path  string    `json:"path"`
	Mode  uint32    `json:"mode"` // as in stat(2): type and permission bits
	Links int64     `json:"links,omitempty"`
	Owner string    `json:"owner"` // name, or number if it has none
	Group string    `json:"group"`
	Size  int64     `json:"size"`
	Major uint32    `json:"major,omitempty"` // of a device
	Minor uint32    `json:"minor,omitempty"`
	MTime time.Time `json:"mtime"`
	Link  string    `json:"link,omitempty"` // target of a symbolic link
}

// Version is a row of the list of files that were found: one state of a file, in
// one image or in several.
type Version struct {
	Path   string    `json:"path"`
	Gone   bool      `json:"gone,omitempty"` // deleted before the first of these backups
	Mode   uint32    `json:"mode,omitempty"` // as in stat(2)
	Size   int64     `json:"size"`
	MTime  time.Time `json:"mtime,omitzero"`
	Images []string  `json:"images"` // that hold it, oldest first
	First  time.Time `json:"first"`  // backup times of the first and the last of them
	Last   time.Time `json:"last"`
}

// WriteVersions writes what was found.
func WriteVersions(w io.Writer, rows []Version, o Options) error {
	if o.JSON {
		return writeJSON(w, rows)
	}
	t := newTable(left("MODE"), right("SIZE"), left("MODIFIED"), right("IMAGES"), left("FIRST BACKUP"), left("LAST BACKUP"), left("LAST IMAGE"), left("PATH"))
	for i := range rows {
		v := &rows[i]
		mode, size := ModeString(v.Mode), strconv.FormatInt(v.Size, 10)
		if v.Gone {
			mode, size = "deleted", ""
		}
		t.row(mode, size, o.time(v.MTime, toMinute), Count(int64(len(v.Images))), o.time(v.First, toMinute), o.time(v.Last, toMinute),
			v.Images[len(v.Images)-1], v.Path)
	}
	return t.write(w, o.Color)
}

// The type bits of stat(2)'s mode, by inode(7).
const (
	typeMask  = 0o170000
	typeFIFO  = 0o010000
	typeChar  = 0o020000
	typeDir   = 0o040000
	typeBlock = 0o060000
	typeLink  = 0o120000
	typeSock  = 0o140000
)

// ModeString writes a mode of stat(2) as ls -l does: "drwxr-xr-x".
func ModeString(mode uint32) string {
	kind := map[uint32]string{typeFIFO: "p", typeChar: "c", typeDir: "d", typeBlock: "b", typeLink: "l", typeSock: "s"}[mode&typeMask]
	if kind == "" {
		kind = "-"
	}
	b := []byte(fs.FileMode(mode & 0o777).String()[1:])
	for _, special := range []struct {
		bit   uint32
		at    int
		x, no byte
	}{{0o4000, 2, 's', 'S'}, {0o2000, 5, 's', 'S'}, {0o1000, 8, 't', 'T'}} {
		if mode&special.bit == 0 {
			continue
		}
		if b[special.at] == 'x' {
			b[special.at] = special.x
		} else {
			b[special.at] = special.no
		}
	}
	return kind + string(b)
}

// WriteFiles writes files in the manner of ls -l, without a line of titles.
func WriteFiles(w io.Writer, rows []File, o Options) error {
	f := NewFileWriter(w, o)
	return errors.Join(f.Write(rows), f.Close())
}

// FileWriter writes a list of files as [WriteFiles] does, but as they come: a
// list may be too long to be held. Columns are as wide as what came so far needs.
type FileWriter struct {
	w      io.Writer
	o      Options
	widths []int
	begun  bool
}

// NewFileWriter makes a writer of one list of files.
func NewFileWriter(w io.Writer, o Options) *FileWriter { return &FileWriter{w: w, o: o} }

// Write writes the next files.
func (f *FileWriter) Write(rows []File) error {
	if f.o.JSON {
		return f.writeJSON(rows)
	}
	t := newTable(left(""), right(""), left(""), left(""), right(""), left(""), left(""))
	for i := range rows {
		t.row(f.cells(&rows[i])...)
	}
	t.bare, t.widths = true, f.widths
	err := t.write(f.w, f.o.Color)
	f.widths = t.widths
	return err
}

// Close ends the list.
func (f *FileWriter) Close() error {
	end := ""
	switch {
	case f.o.JSON && f.begun:
		end = "\n]\n"
	case f.o.JSON:
		end = "[]\n"
	}
	if _, err := io.WriteString(f.w, end); err != nil {
		return fmt.Errorf("writing a report: %w", err)
	}
	return nil
}

func (f *FileWriter) writeJSON(rows []File) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("  ", "  ")
	for i := range rows {
		if f.begun {
			b.WriteString(",\n  ")
		} else {
			b.WriteString("[\n  ")
		}
		f.begun = true
		if err := e.Encode(&rows[i]); err != nil {
			return fmt.Errorf("writing a report as JSON: %w", err)
		}
		b.Truncate(b.Len() - 1) // the encoder's end of line
	}
	if _, err := f.w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing a report as JSON: %w", err)
	}
	return nil
}

func (f *FileWriter) cells(r *File) []any {
	size := strconv.FormatInt(r.Size, 10)
	if k := r.Mode & typeMask; k == typeChar || k == typeBlock {
		size = strconv.FormatUint(uint64(r.Major), 10) + "," + strconv.FormatUint(uint64(r.Minor), 10)
	}
	name := r.Path
	if r.Link != "" {
		name += " -> " + r.Link
	}
	color := ""
	switch r.Mode & typeMask {
	case typeDir:
		color = blue
	case typeLink:
		color = green
	}
	return []any{ModeString(r.Mode), strconv.FormatInt(max(r.Links, 1), 10), r.Owner, r.Group, size, f.o.time(r.MTime, toMinute), cell{name, color}}
}
