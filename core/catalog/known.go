package catalog

// Known is what a backup needs to know of a name that an earlier backup shows, to
// tell whether it is still the same file.
type Known struct {
	Name string `json:"n"`
	Ino  uint64 `json:"i"` // 0 is not known
	Dir  bool   `json:"d,omitempty"`
}

// KnownOf is what is known of an entry.
func KnownOf(e *Entry) Known {
	_, name := split(e.Path)
	return Known{Name: name, Ino: e.Ino, Dir: e.Type == Directory}
}
