package archive

import "fmt"

// What went wrong with one file.
const (
	Missing    = "does not exist"                                // a path of the selection
	Vanished   = "vanished while it was backed up"               // between being listed and being read
	Unreadable = "could not be read"                             // the rest of its data, if any, is zeros
	ShrunkFile = "became shorter while it was read"              // the rest is zeros
	GrownFile  = "became longer while it was read"               // the copy ends where it ended at first
	ChangedNow = "changed while it was read"                     // its modification time did
	Socket     = "is a socket, which no archive holds"           // a note: sockets exist while their program runs
	NotWritten = "could not be restored"                         // nothing of it is there
	NoMetadata = "was restored without all of its attributes"    // owner, mode, attributes or times
	Exists     = "exists and was kept"                           // as the mode of overwriting says
	Refused    = "was refused: it would lead out of the target"  // .., a link on the way, NUL
	Incomplete = "is not complete in the data that was restored" // the stream ended inside
)

// Problem is something that went wrong with one file.
type Problem struct {
	Path string // absolute
	Err  error  // nil if What says all
	What string // one of the constants above
}

func (p Problem) String() string {
	if p.Err == nil {
		return fmt.Sprintf("%s %s", p.Path, p.What)
	}
	return fmt.Sprintf("%s %s: %v", p.Path, p.What, p.Err)
}

// Stats is what was backed up or restored.
type Stats struct {
	Files    int64 // those that a hollow entry stands for included
	Bytes    int64 // of the image's stream
	Problems int64 // notes about sockets not included
}
