// Package bptm is the tape manager, which also manages disk: the parent owns
// the device, the child the connection with the client, and a ring of shared
// memory lies between them.
//
// Backup: B9 (asks nbjm for media and drive), B10 (has ltid mount, and spawns
// the child without waiting for it), B12 (child: connection to ring; parent:
// ring to media, block by block), B13 (tells bpbrm and nbjm that it is done).
// Restore: R7 (asks nbjm by name), R12 (mount), R13 (spawns the child once the
// media is positioned), R14 (media to ring to tar), R15 (unmounts, tells nbjm).
package bptm

import (
	"capstan/core/bpdbm"
	"capstan/core/catalog"
	"capstan/core/image"
	"capstan/core/nbemm"
	"capstan/core/nbrb"
	"capstan/core/pbx"
	"capstan/core/rt"
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
	Pool     string   `json:"pool,omitempty"`
	Restore  bool     `json:"restore,omitempty"`
	Needed   pbx.Addr `json:"needed,omitempty"` // restore: who answers [AskNeeded]
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

// NeededQuery asks what a restore needs: of its Imageth image the ranges after From.
type NeededQuery struct {
	Image int `json:"image"`
	From  int `json:"from"`
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
	AllDone     = pbx.Declare[Done, struct{}]("bpbrm", "AllDone", pbx.Media, pbx.Step("B13", ""))
	AskNeeded   = pbx.Declare[NeededQuery, Needed]("bprd", "Needed", pbx.Media, pbx.Query())
)
