// Package image holds the words of an image: its header, its copies' fragments
// and where they lie.
package image

import (
	"fmt"
	"strconv"
	"strings"

	"capstan/core/rt"
	"capstan/core/store"
)

// Header is what is known of an image as a whole.
type Header struct {
	ID        string     `json:"id"` // client_ctime
	Client    string     `json:"client"`
	Policy    string     `json:"policy"`
	Schedule  string     `json:"schedule"`
	Type      string     `json:"type"` // policy.Type
	Time      int64      `json:"time"` // the backup's time: seconds since the epoch, unique for the client
	Since     rt.Time    `json:"since,omitempty"`
	Paths     []string   `json:"paths,omitempty"`   // that were asked for, of the policy as it was
	Exclude   []string   `json:"exclude,omitempty"` // likewise
	Job       int64      `json:"job"`
	Try       int        `json:"try"`
	Server    string     `json:"server"`   // the media server that writes it
	Complete  bool       `json:"complete"` // sealed and verified; others are not shown
	Status    int        `json:"status"`   // 0 or 1
	Bytes     int64      `json:"bytes"`    // of the image's stream
	Files     int64      `json:"files"`
	Expires   rt.Time    `json:"expires,omitempty"` // 0 is never
	Began     rt.Time    `json:"began"`             // when the client began to look at its files, by its own clock
	Ended     rt.Time    `json:"ended,omitempty"`
	Imported  rt.Time    `json:"imported,omitempty"` // when it was read back from its media; 0 if this catalog had it from its backup
	Fragments []Fragment `json:"fragments,omitempty"`
}

// Fragment is a part of one copy of an image, contiguous on one volume.
type Fragment struct {
	Copy        int    `json:"copy"`
	Number      int    `json:"number"` // from 1
	StorageUnit string `json:"storageUnit"`
	MediaServer string `json:"mediaServer"`
	Media       string `json:"media,omitempty"` // a cartridge's media id; "" on disk
	Path        string `json:"path,omitempty"`  // of the disk unit; "" on tape
	File        int64  `json:"file,omitempty"`  // tape file number
	Block       int64  `json:"block,omitempty"` // logical object number of its first block
	BlockSize   int    `json:"blockSize"`
	Offset      int64  `json:"offset"` // where it begins in the image's stream
	Length      int64  `json:"length"` // bytes of the image's stream in it
}

// OnTape tells whether the fragment is on a cartridge.
func (f *Fragment) OnTape() bool { return f.Media != "" }

// MakeID is the backup id of a client's backup at a time: client_ctime.
func MakeID(client string, time int64) string { return client + "_" + digits(time) }

// digits are at least ten, so that names of times sort as the times do.
func digits(time int64) string {
	s := strconv.FormatInt(time, 10)
	if time < 0 || len(s) >= 10 {
		return s
	}
	return "0000000000"[len(s):] + s
}

// ParseID takes a backup id apart.
func ParseID(id string) (client string, time int64, err error) {
	i := strings.LastIndexByte(id, '_')
	if i > 0 {
		client = id[:i]
		time, err = strconv.ParseInt(id[i+1:], 10, 64)
	}
	if i <= 0 || err != nil || time < 0 || MakeID(client, time) != id {
		return "", 0, fmt.Errorf("%.200q is not a backup id: want client_time", id)
	}
	return client, time, nil
}

// CheckNames refuses a header whose names cannot be those of files: it may come from
// a medium that others have written.
func (h *Header) CheckNames() error {
	for _, name := range []string{h.Client, h.Policy, h.Type} {
		if name == "" || len(name) > 255 || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\x00\n") {
			return fmt.Errorf("%.200q cannot be the name of a client, a policy or a type: it becomes a file's", name)
		}
	}
	return nil
}

// FileName is the header's name in the image database: <client>/<time
// group>/<policy>_<time>_<TYPE>. A group is a million seconds.
func (h *Header) FileName() string {
	return h.Client + "/" + strconv.FormatInt(h.Time/1_000_000*1_000_000, 10) + "/" + h.Policy + "_" + digits(h.Time) + "_" + h.Type
}

// Table holds the headers by backup id, found by client in order of time, by when
// they expire ([Due]), and by the cartridge that they are on ([OnMedia]).
var Table = store.Declare[string, Header]("images", 1, store.StringKey, nil,
	store.Index[Header]{Name: "client", Key: func(h Header) string { return ClientKey(h.Client, h.Time) }},
	store.Index[Header]{Name: "expires", Key: func(h Header) string { return h.expiry() }},
	store.Index[Header]{Name: "media", Key: func(h Header) string { return h.cartridge() }})

// ClientKey is the key in the index "client".
func ClientKey(client string, time int64) string { return store.PairKey(client, store.IntKey(time)) }

// expiry is the key in the index "expires"; "" is that of images that do not expire, and of
// those that are not complete.
func (h *Header) expiry() string {
	if !h.Complete || h.Expires == 0 {
		return ""
	}
	return store.IntKey(max(0, int64(h.Expires)))
}

// Due calls fn for the complete images whose time has come by now, until it returns false.
func Due(tx store.Tx, now rt.Time, fn func(h Header) (more bool, err error)) error {
	return Table.By(tx, "expires", store.IntKey(0), store.IntKey(int64(now)+1), fn)
}

// several is the key in the index "media" of an image that is on more than one cartridge:
// it is looked at for each of them. No media id is it.
const several = "\x00"

// cartridge is the key in the index "media": "" for an image that is on none.
func (h *Header) cartridge() (id string) {
	for i := range h.Fragments {
		switch m := h.Fragments[i].Media; {
		case m == "":
		case id == "":
			id = m
		case id != m:
			return several
		}
	}
	return id
}

// OnMedia calls fn for the images that have fragments on a cartridge, and perhaps for some
// that have theirs on others, until it returns false.
func OnMedia(tx store.Tx, id string, fn func(h Header) (more bool, err error)) error {
	for _, at := range []string{id, several} {
		more := true
		if err := Table.By(tx, "media", at, at+"\x00", func(h Header) (_ bool, err error) {
			more, err = fn(h)
			return more, err
		}); err != nil || !more {
			return err
		}
	}
	return nil
}
