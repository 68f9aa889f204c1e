// Package nbemm is the enterprise media manager: it knows storage units and
// groups of them, media, pools, drives and robots, and who has what.
//
// It is the far end of B4 and R10 (nbrb asks for a storage unit, a medium and a
// drive) and of B16 and R16 (nbrb gives them back).
package nbemm

import (
	"time"

	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/store"
)

// Service is the role's name on the master.
const Service = "nbemm"

// Kind of a storage unit.
type Kind string

// The kinds of storage unit.
const (
	Tape Kind = "tape"
	Disk Kind = "disk"
)

// StorageUnit is a destination of images on one media server.
type StorageUnit struct {
	Name         string `json:"name"`
	Kind         Kind   `json:"kind"`
	MediaServer  string `json:"mediaServer"`
	Path         string `json:"path,omitempty"`    // of a disk unit, on the media server
	Library      string `json:"library,omitempty"` // of a tape unit: its robot
	Density      string `json:"density,omitempty"` // of a tape unit, "" is any
	MaxJobs      int    `json:"maxJobs,omitempty"` // at a time; 0 is no limit but the drives
	BlockSize    int    `json:"blockSize"`
	FragmentSize int64  `json:"fragmentSize"`
	Pool         string `json:"pool,omitempty"`
	// MixRetentions allows images that are kept for different times on one cartridge,
	// which is then free only when the last of them has expired.
	MixRetentions bool `json:"mixRetentions,omitempty"`
}

// Group is a list of storage units of which one is chosen for each job.
type Group struct {
	Name       string   `json:"name"`
	RoundRobin bool     `json:"roundRobin,omitempty"` // the least recently chosen first; else in the order given
	Units      []string `json:"units"`
}

// Library is a robot with its host.
type Library struct {
	Name        string `json:"name"`
	MediaServer string `json:"mediaServer"` // the robot control host
}

// Drive is a tape drive. The drives of one library may be of several media servers.
type Drive struct {
	Name        string  `json:"name"`
	Library     string  `json:"library"`
	MediaServer string  `json:"mediaServer"` // that reaches it; no other uses it
	Element     int     `json:"element"`     // its address for the robot
	Up          bool    `json:"up"`
	Media       string  `json:"media,omitempty"` // in it
	LastUsed    rt.Time `json:"lastUsed,omitempty"`
}

// Scratch is the pool from which other pools take cartridges when they need one.
const Scratch = "Scratch"

// DefaultPool is the pool of policies that name none.
const DefaultPool = "Default"

// CleaningPool is the pool of cleaning cartridges, which nothing is written to. Their
// mounts are their uses.
const CleaningPool = "Cleaning"

// Media is a cartridge.
type Media struct {
	ID      string `json:"id"` // the last six characters of the barcode
	Barcode string `json:"barcode"`
	Library string `json:"library,omitempty"` // "" if it is in none
	Element int    `json:"element,omitempty"` // where it lies when in no drive
	Pool    string `json:"pool"`
	Density string `json:"density,omitempty"`
	UUID    string `json:"uuid,omitempty"` // of its label: drawn when it is first given to a job, and kept
	// Overwrite: a person has said that what is on it, ours or not, may go.
	Overwrite bool    `json:"overwrite,omitempty"`
	Assigned  rt.Time `json:"assigned,omitempty"`
	Full      bool    `json:"full,omitempty"`
	Frozen    bool    `json:"frozen,omitempty"` // never to be written again, nor freed
	// ByImport: it is frozen because something on it is not in the catalog, or an
	// import of it did not end. One that takes all of it thaws it.
	ByImport bool `json:"byImport,omitempty"`
	// Suspended is not to be written before its last image has expired.
	Suspended bool `json:"suspended,omitempty"`
	// FromScratch says that the pool took it from the scratch pool, to which it
	// returns when it is free.
	FromScratch bool `json:"fromScratch,omitempty"`
	// Retention is how long each of its images is kept; 0 with images is for ever.
	Retention time.Duration `json:"retention,omitempty"`
	Images    int           `json:"images"`
	Bytes     int64         `json:"bytes"`          // written for images that are in the catalog
	NextFile  int64         `json:"nextFile"`       // tape file number at which the next fragment goes: the end header's
	NextBlock int64         `json:"nextBlock"`      // the end header's logical object number
	Last      string        `json:"last,omitempty"` // the last fragment: backup id, copy, number
	Mounts    int           `json:"mounts"`
	LastUsed  rt.Time       `json:"lastUsed,omitempty"`
	Expires   rt.Time       `json:"expires,omitempty"` // when its last image does; 0 with images is never
	// Counted says that Images, Bytes and Expires are what the image catalog has. They may
	// not be since a job has written to it, or an image on it has left the catalog.
	Counted bool `json:"counted,omitempty"`
}

// The tables of nbemm.
var (
	units     = store.Declare[string, StorageUnit]("storage_units", 1, store.StringKey, nil)
	groups    = store.Declare[string, Group]("storage_unit_groups", 1, store.StringKey, nil)
	libraries = store.Declare[string, Library]("libraries", 1, store.StringKey, nil)
	drives    = store.Declare("drives", 1, store.StringKey, nil,
		store.Index[Drive]{Name: "library", Key: func(d Drive) string { return d.Library }})
	// media are found as they are chosen for writing: see [Server.mediaForWrite].
	media = store.Declare("media", 1, store.StringKey, nil, store.Index[Media]{Name: "choice", Key: Media.choice})
)

// What can be written of the cartridges of a pool and library.
const (
	partFull   = "part"  // has images, and room
	empty      = "empty" // has none
	unwritable = ""
)

// choice is the cartridge's place among those of its pool and library: of a kind, the
// least recently used first.
func (m Media) choice() string {
	kind := partFull
	switch {
	case m.Pool == CleaningPool, m.Full, m.Frozen, m.Suspended:
		kind = unwritable
	case m.Images == 0:
		kind = empty
	}
	return store.PairKey(m.Pool, m.Library, kind, store.IntKey(int64(m.LastUsed)))
}

// chosenFrom is what the places of a kind of cartridges begin with.
func chosenFrom(pool, library, kind string) string { return store.PairKey(pool, library, kind, "") }

// Schemas are the tables of the role.
func Schemas() []*store.Schema {
	return []*store.Schema{units.Schema(), groups.Schema(), libraries.Schema(), drives.Schema(), media.Schema()}
}

// EachMedia calls fn for the cartridges by media id until it returns false. It is for who
// looks at the database from outside: a planning run is recorded so, which may take no time
// in its world and leave no trace there, as a call of [Show] would.
func EachMedia(tx store.Tx, fn func(m Media) (more bool, err error)) error { return media.All(tx, fn) }

// Request asks for what one job needs.
type Request struct {
	Job     int64  `json:"job"`
	Try     int    `json:"try"`
	Write   bool   `json:"write"`
	Storage string `json:"storage,omitempty"` // to write: a unit or a group; to read: the unit that wrote it, for people
	Pool    string `json:"pool,omitempty"`
	// Retention is how long the image is kept; 0 is for ever.
	Retention time.Duration `json:"retention,omitempty"`
	Media     string        `json:"media,omitempty"`  // to read, or in use already: the media id
	Server    string        `json:"server,omitempty"` // to read: the media server
	Path      string        `json:"path,omitempty"`   // to read from disk
	Held      string        `json:"held,omitempty"`   // the drive that the job has and keeps (next volume)
	Avoid     []string      `json:"avoid,omitempty"`  // media not to be chosen
}

// Allocation is what a job was given.
type Allocation struct {
	Job         int64       `json:"job"`
	Try         int         `json:"try"`
	Write       bool        `json:"write"`
	Unit        StorageUnit `json:"unit"`
	MediaServer string      `json:"mediaServer"`
	Drive       Drive       `json:"drive,omitzero"` // tape
	Media       Media       `json:"media,omitzero"` // tape
	// From is another media server that has the cartridge in a drive: its ltid is to take
	// it home first. No job uses it there, but one may have been given the drive that has
	// not yet mounted its own.
	From string `json:"from,omitempty"`
	// Quarantine: the job has ended, and what it had is not usable yet.
	Quarantine bool `json:"quarantine,omitempty"`
}

// OnTape tells whether the allocation has a drive.
func (a *Allocation) OnTape() bool { return a.Drive.Name != "" }

// Release gives back what a job has.
type Release struct {
	Job int64 `json:"job"`
	Try int   `json:"try"`
	// Quarantine says that the drive could not be emptied yet: drive and cartridge
	// stay with the job until a release without it.
	Quarantine bool `json:"quarantine,omitempty"`
}

// Released is the answer: the storage units and groups for whose requests something is
// free now.
type Released struct {
	For []string `json:"for,omitempty"`
}

// Written says what a job wrote to a cartridge and proved to stand there.
type Written struct {
	Media     string  `json:"media"`
	UUID      string  `json:"uuid"`
	Images    int     `json:"images"` // more on it
	Bytes     int64   `json:"bytes"`  // more on it
	NextFile  int64   `json:"nextFile"`
	NextBlock int64   `json:"nextBlock"`
	Last      string  `json:"last"`
	Full      bool    `json:"full"`
	Expires   rt.Time `json:"expires"`
	// Retention is how long the image is kept; 0 is for ever.
	Retention time.Duration `json:"retention,omitempty"`
}

// MediaChange is what an operator decides about a cartridge. What is nil stays.
type MediaChange struct {
	ID        string  `json:"id"`
	Pool      *string `json:"pool,omitempty"` // of a cartridge without images
	Frozen    *bool   `json:"frozen,omitempty"`
	Overwrite *bool   `json:"overwrite,omitempty"` // whatever is on it, of a cartridge without images
	Suspended *bool   `json:"suspended,omitempty"`
}

// DriveMedia is what is in a drive; Media "" is nothing.
type DriveMedia struct {
	Drive string `json:"drive"`
	Media string `json:"media"`
}

// Hello is what a media server says when it comes up: its devices, as found.
type Hello struct {
	Libraries []Library `json:"libraries"`
	Drives    []Drive   `json:"drives"`
	Media     []Media   `json:"media"` // by inventory: ID, Barcode, Library, Element, Density, Pool of a cleaning cartridge
}

// List is all that nbemm knows, for people.
type List struct {
	Units     []StorageUnit `json:"units"`
	Groups    []Group       `json:"groups"`
	Libraries []Library     `json:"libraries"`
	Drives    []DriveState  `json:"drives"`
	Media     []Media       `json:"media"`
}

// DriveState is a drive with the job that has it.
type DriveState struct {
	Drive
	Job int64 `json:"job,omitempty"`
}

// The methods of nbemm.
var (
	Allocate    = pbx.Declare[Request, Allocation](Service, "Allocate", pbx.Master, pbx.Step("B4", "R10"))
	ReleaseAll  = pbx.Declare[Release, Released](Service, "Release", pbx.Master, pbx.Step("B16", "R16"))
	MarkWritten = pbx.Declare[Written, struct{}](Service, "MarkWritten", pbx.Master)
	// DeassignEmpty frees the cartridges whose images have all expired; the answer is
	// their media ids.
	DeassignEmpty = pbx.Declare[struct{}, []string](Service, "DeassignEmpty", pbx.Master)
	// MarkImported is called before the first image of a cartridge is imported, and
	// again when the import has ended.
	MarkImported = pbx.Declare[[]Imported, struct{}](Service, "MarkImported", pbx.Master)
	ChangeMedia  = pbx.Declare[MediaChange, struct{}](Service, "ChangeMedia", pbx.Master|pbx.User)
	MarkDrive    = pbx.Declare[DriveMedia, struct{}](Service, "MarkDrive", pbx.Media)
	SayHello     = pbx.Declare[Hello, struct{}](Service, "SayHello", pbx.Media)
	Show         = pbx.Declare[struct{}, List](Service, "Show", pbx.Hosts|pbx.User, pbx.Query())
	Configure    = pbx.Declare[List, struct{}](Service, "Configure", pbx.Master|pbx.User)
)
