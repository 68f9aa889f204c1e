// Package bptm is the tape manager, which also manages disk: the parent owns
// the device, the child the connection with the client, and a ring of shared
// memory lies between them.
//
// Backup: B9 (asks nbjm for media and drive), B10 (has ltid mount, and spawns
// the child without waiting for it), B12 (child: connection to ring; parent:
// ring to media, block by block), B13 (tells bpbrm and nbjm that it is done).
// Import: as a restore R7 to R12 and R15; it reads headers and trailers, and says to
// bprd what it finds.
// Restore: R7 (asks nbjm by name), R12 (mount), R13 (spawns the child once the
// media is positioned), R14 (media to ring to tar), R15 (unmounts, tells nbjm).
package bptm

import (
	"capstan/core/bpdbm"
	"capstan/core/catalog"
	"capstan/core/image"
	"capstan/core/media"
	"capstan/core/nbemm"
	"capstan/core/nbrb"
	"capstan/core/pbx"
	"capstan/core/rt"
	"capstan/core/status"
)

// Role is the role's name. The parent is its process 0, the child 1.
const Role = "bptm"

// Args is what bpbrm starts the parent with.
type Args struct {
	Master   string   `json:"master"`
	Bpbrm    pbx.Addr `json:"bpbrm"`
	Nbjm     pbx.Addr `json:"nbjm"`
	Epoch    uint64   `json:"epoch"`
	Client   string   `json:"client"`             // backup: whose data comes; restore: whom it goes to
	BackupID string   `json:"backupId,omitempty"` // backup
	Expires  rt.Time  `json:"expires,omitempty"`
	// Image is what the media of a backup say of the image.
	Image   media.Image `json:"image,omitzero"`
	Pool    string      `json:"pool,omitempty"`
	Restore bool        `json:"restore,omitempty"`
	Import  bool        `json:"import,omitempty"` // a restore's steps, to read what stands on media
	Needed  pbx.Addr    `json:"needed,omitempty"` // restore: who answers [AskNeeded]; import: [NextVolume]
}

// ChildArgs is what the parent starts the child with.
type ChildArgs struct {
	Parent  pbx.Addr `json:"parent"`
	Ring    string   `json:"ring"`
	Peer    string   `json:"peer"` // the client's host
	Ticket  string   `json:"ticket"`
	Restore bool     `json:"restore"`
	To      pbx.Addr `json:"to,omitempty"` // restore: the tar that waits for the data
	Limit   int64    `json:"limit"`        // backup: bytes of a fragment
}

// Media asks nbjm for media: with which a backup begins, by name for a restore,
// or the next volume of a job that keeps its drive.
type Media struct {
	Reply pbx.Addr      `json:"reply"` // who answers [Grant]
	Next  bool          `json:"next"`
	Need  nbemm.Request `json:"need"` // of a restore, and of a next volume
}

// Ready says that the media is mounted and positioned and where data may be sent.
type Ready struct {
	Addr   pbx.Addr `json:"addr"`
	Ticket string   `json:"ticket"`
	// Amends says that frames of kind [stream.Amend] are understood.
	Amends bool `json:"amends,omitempty"`
}

// FragmentDone reports a fragment that stands durably on its volume.
type FragmentDone = bpdbm.Fragment

// Done is what the parent reports at the end of a backup.
type Done struct {
	Bytes   int64           `json:"bytes"` // of the image's stream
	Written []nbemm.Written `json:"written,omitempty"`
}

// Connection is where a restore's data goes: the tar that bpbrm's child started.
type Connection struct {
	Tar    pbx.Addr `json:"tar"`
	Ticket string   `json:"ticket"`
}

// NeededQuery asks what a restore needs: of its Imageth image the ranges after From, and
// the hollow entries after FromHollow.
type NeededQuery struct {
	Image      int `json:"image"`
	From       int `json:"from"`
	FromHollow int `json:"fromHollow,omitempty"`
}

// Needed is the answer. Images is their number.
type Needed struct {
	Images    int              `json:"images"`
	BlockSize int              `json:"blockSize"` // the largest of all of them
	BackupID  string           `json:"backupId"`
	Fragments []image.Fragment `json:"fragments"`
	Ranges    []bpdbm.Range    `json:"ranges"`
	// Hollow are the entries, of hollow images alone, that lie in the ranges.
	Hollow []catalog.Entry `json:"hollow,omitempty"`
	More   bool            `json:"more"`
	// AnyOrder tells that the ranges can be read in any order; see [bpdbm.Selected].
	AnyOrder bool `json:"anyOrder,omitempty"`
}

// Volume is what an import is to read next.
type Volume struct {
	Done    bool   `json:"done,omitempty"` // there is nothing more
	Storage string `json:"storage"`
	Media   string `json:"media,omitempty"` // a cartridge's media id; "" on disk
	Path    string `json:"path,omitempty"`  // of a disk unit
	// Verify asks for every block to be read and compared with its CRC.
	Verify bool `json:"verify,omitempty"`
}

// Found is a fragment whose header an import has read: of the fragment its place, and
// what its header says.
type Found struct {
	Header   media.FragmentHeader `json:"header"`
	Fragment image.Fragment       `json:"fragment"`
}

// FoundFiles are entries of the trailer of the fragment that was found last.
type FoundFiles struct {
	BackupID string          `json:"backupId"`
	Entries  []catalog.Entry `json:"entries"`
	// Amended take the place of entries of this fragment, or of one before.
	Amended []catalog.Entry `json:"amended,omitempty"`
}

// Stands says that all of a fragment's trailer was read, and, if that was asked for,
// that its blocks were as they had been written. The block table comes as in
// [FragmentDone].
type Stands struct {
	Done FragmentDone     `json:"done"`
	End  media.TrailerEnd `json:"end"`
}

// Trouble is something on a volume that cannot be imported.
type Trouble struct {
	Where    string      `json:"where"`
	BackupID string      `json:"backupId,omitempty"` // of which image, if that is known
	Code     status.Code `json:"code"`
	Text     string      `json:"text"`
	// Volume says that nothing more of the volume is read.
	Volume bool `json:"volume,omitempty"`
}

// DiscardImage asks to remove an image that was aborted, or has expired, from a
// disk unit.
type DiscardImage = bpdbm.DiscardImage

// Discard is answered by the media server's daemon, under the role's name.
var Discard = bpdbm.Discard

// What a process of the role answers.
var (
	// Go says that all processes of the job are started.
	Go = pbx.Declare[struct{}, struct{}](Role, "Go", pbx.Media)
	// Grant is nbjm's answer to [AskMedia], over a connection that it opens itself.
	Grant = pbx.Declare[nbrb.Grant, struct{}](Role, "Grant", pbx.Master, pbx.Step("B9", "R11"))
	// Connect hands over the connection with tar that bpbrm's child has made.
	Connect = pbx.Declare[Connection, struct{}](Role, "Connect", pbx.Media, pbx.Step("", "R8"))
)

// What bptm tells those who started it, and asks of them.
var (
	AskMedia    = pbx.Declare[Media, struct{}]("nbjm", "AskMedia", pbx.Media, pbx.Step("B9", "R7"))
	MediaDone   = pbx.Declare[struct{}, struct{}]("nbjm", "MediaDone", pbx.Media, pbx.Step("B13", "R15"))
	MediaReady  = pbx.Declare[Ready, struct{}]("bpbrm", "MediaReady", pbx.Media)
	AddFragment = pbx.Declare[FragmentDone, struct{}]("bpbrm", "AddFragment", pbx.Media)
	// AskEnd asks what the client said of the image before it ended; nil if it did not.
	AskEnd  = pbx.Declare[struct{}, *media.ImageEnd]("bpbrm", "AskEnd", pbx.Media, pbx.Query())
	AllDone = pbx.Declare[Done, struct{}]("bpbrm", "AllDone", pbx.Media, pbx.Step("B13", ""))
	// What an import's bptm says to who leads it, in the order of the volume.
	NextVolume = pbx.Declare[struct{}, Volume]("bprd", "NextVolume", pbx.Media)
	SayLabel   = pbx.Declare[media.Label, struct{}]("bprd", "SayLabel", pbx.Media)
	SayFound   = pbx.Declare[Found, bool]("bprd", "SayFound", pbx.Media) // whether its trailer is wanted
	SayFiles   = pbx.Declare[FoundFiles, struct{}]("bprd", "SayFiles", pbx.Media)
	SayStands  = pbx.Declare[Stands, struct{}]("bprd", "SayStands", pbx.Media)
	SayTrouble = pbx.Declare[Trouble, struct{}]("bprd", "SayTrouble", pbx.Media)
	AskNeeded  = pbx.Declare[NeededQuery, Needed]("bprd", "Needed", pbx.Media, pbx.Query())
)
